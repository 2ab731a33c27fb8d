"""What comes in broken, and what becomes of it: the table of docs/bad-input.md, with every row accounted for.

Each case is one day of a range, so that one run judges all of its kind. Rows are counted by Python's own readers,
tables are read by delta-rs.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from deltalake import DeltaTable

from penstock import registry, runner
from penstock.cli.output import exit_code
from penstock.config import load
from penstock.interval import Interval, between
from penstock.spec import resolve

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COLUMNS = {"id": "int", "day": "date", "amount": "double", "note": "string"}
HEADER = "id,day,amount,note\n"
FIRST = date(2010, 12, 1)


@dataclass
class Lab:
    """A raw dataset `lab.raw`, a table `lab.lines`, and the row-preserving job between them.

    Attributes:
        folder: Everything is below it.
        spark: The session.
        raw: More of the raw dataset's declaration, as YAML.
        columns: Of both, by name: Spark types.
        body: Of the transform.
        required: Columns of the table that may not be null.
    """

    folder: Path
    spark: SparkSession
    raw: str = "format: csv"
    columns: Mapping[str, str] = field(default_factory=lambda: dict(COLUMNS))
    body: str = "return lines"
    required: Sequence[str] = ()

    @property
    def data(self) -> Path:
        """The folder of the raw files."""
        return self.folder / "data" / "lab"

    @property
    def job_file(self) -> Path:
        """The job as its author would write it."""
        return self.folder / "lab_job.py"

    def give(self, name: str, content: bytes | str) -> Path:
        """Put a raw file there."""
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def write(self) -> None:
        """Write catalog and job."""
        catalog = self.folder / "conf" / "catalog"
        catalog.mkdir(parents=True, exist_ok=True)
        listed = ", ".join(f'{{name: {name}, type: "{kind}"}}' for name, kind in self.columns.items())
        strict = ", ".join(
            f'{{name: {name}, type: "{kind}", nullable: {"false" if name in self.required else "true"}}}'
            for name, kind in {"day": "date", **self.columns}.items()
        )
        (catalog / "lab.yaml").write_text(
            f"lab.raw:\n  location: ${{data}}/lab\n  columns: [{listed}]\n{textwrap.indent(self.raw, '  ')}\n"
            f"lab.lines:\n  format: delta\n  location: ${{warehouse}}/lab/lines\n"
            f"  slice: {{column: day, unit: day}}\n  columns: [{strict}]\n"
        )
        self.job_file.write_text(
            '"""A job of a test."""\n'
            "from penstock import F, Input, Job, Output, drop_when, mark_duplicates\n\n\n"
            f"def transform(lines):\n{textwrap.indent(textwrap.dedent(self.body), '    ')}\n\n\n"
            'job = Job(name="lab", transform=transform, inputs={"lines": Input("lab.raw")},\n'
            '          outputs={"lines": Output("lab.lines", rows_of="lines")})\n'
        )

    def run(self, first: date = FIRST, last: date | None = None) -> dict[str, Any]:
        """Run one day, or all up to `last`; the batch document."""
        self.write()
        config = load(conf=[self.folder / "conf"], data=self.folder / "data", warehouse=self.folder / "wh", environ={})
        job = registry.job(f"{self.job_file}:job")
        days = between(Interval.of("day", first), Interval.of("day", last or first))
        return runner.run(resolve(job, days, config, {}, "penstock run lab"), config, lambda: self.spark)

    def command(self, *arguments: str, code: int = 0, prefix: Sequence[str] = ()) -> dict[str, Any]:
        """What the real command line prints as JSON, in a process of its own that must exit with `code`."""
        self.write()
        places = ["--conf", f"{self.folder}/conf", "--warehouse", f"{self.folder}/wh", "--json"]
        if arguments[0] != "quarantine":
            places += ["--data", f"{self.folder}/data"]
        done = subprocess.run(
            [*prefix, sys.executable, "-c", "from penstock.cli import main; main()", *arguments, *places],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self.folder,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return dict(json.loads(done.stdout))

    def rows(self) -> list[dict[str, Any]]:
        """The table, as delta-rs reads it."""
        table = self.folder / "wh" / "lab" / "lines"
        return DeltaTable(str(table)).to_pyarrow_table().to_pylist() if table.exists() else []

    def rejected(self) -> list[dict[str, Any]]:
        """The quarantine, as delta-rs reads it."""
        table = self.folder / "wh" / "lab" / "lines_quarantine"
        return DeltaTable(str(table)).to_pyarrow_table().to_pylist() if table.exists() else []


@dataclass(frozen=True)
class Case:
    """One day's file and what must become of its rows.

    Attributes:
        content: Of the file; `{day}` is the day. Bytes where it is no UTF-8 text.
        accepted: Rows that get into the table.
        rejected: The others: (line, raw text, [(rule, column), …]).
        file: Its name, with `{day}`.
        notes: What the table must hold of the column `note`, in order of id; None: not looked at.
        failure: (class, message) where the day must fail as a whole; the message is an expression.
        packed: The file is to be compressed.
    """

    content: str | bytes
    accepted: int = 0
    rejected: Sequence[tuple[int, str, Sequence[tuple[str, str]]]] = ()
    file: str = "{day}.csv"
    notes: Sequence[str | None] | None = None
    failure: tuple[str, str] | None = None
    packed: bool = False

    def bytes_of(self, day: str) -> bytes:
        """The file's content on that day."""
        content = self.content if isinstance(self.content, bytes) else (HEADER + self.content).encode()
        content = content.replace(b"{day}", day.encode())
        return gzip.compress(content) if self.packed else content

    def records(self, day: str) -> int:
        """How many records Python finds: lines that are not blank, but the header."""
        content = self.bytes_of(day)
        text = (gzip.decompress(content) if self.packed else content).decode("utf-8-sig", "replace")
        return sum(1 for line in re.split("\r\n|\r|\n", text) if line.strip(" \t")) - 1


MALFORMED = [("malformed", "")]
LONG = "x" * 10_000_000
CSV = {
    "good": Case("1,{day},2.5,a\n2,{day},,\n", 2, notes=["a", None]),
    "no line end at the end": Case("1,{day},2.5,a\n2,{day},1,b", 2),
    "header only": Case("", 0),
    "header without a line end": Case(HEADER.strip().encode(), 0),
    "blank lines": Case("\n1,{day},1,a\n\n   \n\t\nx,{day},1,b\n\n", 1, [(7, "x,{day},1,b", [("type", "id")])]),
    "blank lines above the header": Case(
        b"\n\n" + HEADER.encode() + b"1,{day},1,a\nx,{day},1,b\n", 1, [(5, "x,{day},1,b", [("type", "id")])]
    ),
    "byte order mark": Case(b"\xef\xbb\xbf" + HEADER.encode() + b"1,{day},1,a\n", 1, notes=["a"]),
    "CR LF": Case(
        (HEADER + "1,{day},1,a\nx,{day},1,b\n").replace("\n", "\r\n").encode(),
        1,
        [(3, "x,{day},1,b", [("type", "id")])],
        notes=["a"],
    ),
    "CR": Case(
        (HEADER + "1,{day},1,a\nx,{day},1,b\n2,{day},1,c").replace("\n", "\r").encode(),
        2,
        [(3, "x,{day},1,b", [("type", "id")])],
        notes=["a", "c"],
    ),
    "mixed line ends": Case(
        "1,{day},1,a\r\n2,{day},1,b\rx,{day},1,c\n3,{day},1,d\r\n",
        3,
        [(4, "x,{day},1,c", [("type", "id")])],
        notes=["a", "b", "d"],
    ),
    "bad UTF-8": Case(
        HEADER.encode() + b"1,{day},1,caf\xe9\n2,{day},1,caf\xc3\xa9\n\xff,{day},1,c\n",
        1,
        [(2, "1,{day},1,caf\ufffd", [("encoding", "note")]), (4, "\ufffd,{day},1,c", [("type", "id")])],
        notes=["café"],
    ),
    "surrogates as UTF-8": Case(
        HEADER.encode() + b"1,{day},1,\xed\xa0\xbd\xed\xb8\x80\n2,{day},1,\xf0\x9f\x98\x80\n",
        1,
        [(2, "1,{day},1,\ufffd\ufffd", [("encoding", "note")])],
        notes=["\U0001f600"],
    ),
    "NUL": Case(
        "1,{day},1,a\x00b\n2\x00,{day},1,c\n3,{day},1,d\n\x004,{day},1,e\n",
        1,
        [
            (2, "1,{day},1,a\x00b", [("encoding", "note")]),
            (3, "2\x00,{day},1,c", [("type", "id")]),
            (5, "\x004,{day},1,e", [("type", "id")]),
        ],
    ),
    "more columns": Case(
        "1,{day},1,a,b\n2,{day},1,b\n3,{day},1,c,\n",
        1,
        [(2, "1,{day},1,a,b", MALFORMED), (4, "3,{day},1,c,", MALFORMED)],
    ),
    "fewer columns": Case("1,{day},1\n2,{day},1,b\n3\n", 1, [(2, "1,{day},1", MALFORMED), (4, "3", MALFORMED)]),
    "very many columns": Case(
        "1,{day},1,a" + "," * 30_000 + "\n2,{day},1,b\n", 1, [(2, "1,{day},1,a" + "," * 30_000, MALFORMED)]
    ),
    "a line of 10 MB": Case(
        f"1,{{day}},1,{LONG}\n2,{{day}},1,b\nx,{{day}},1,{LONG}\n", 2, [(4, f"x,{{day}},1,{LONG}", [("type", "id")])]
    ),
    "a quote never closed, in the last column": Case(
        '1,{day},1,"a\n2,{day},1,b\n', 1, [(2, '1,{day},1,"a', MALFORMED)]
    ),
    "a quote never closed, in the first": Case('"1,{day},1,a\n2,{day},1,b\n', 1, [(2, '"1,{day},1,a', MALFORMED)]),
    "quotes within": Case(
        '1,{day},1,"a, ""b"""\n2,{day},1,5" pipe\n3,{day},1,"a"b\n', 3, notes=['a, "b"', '5" pipe', '"a"b']
    ),
    "a quoted line end": Case(
        '1,{day},1,"a\nb"\n2,{day},1,c\n', 1, [(2, '1,{day},1,"a', MALFORMED), (3, 'b"', MALFORMED)]
    ),
    "types that do not fit": Case(
        '12abc,{day},1,a\n1.0,{day},1,b\n3000000000,{day},1,c\n4,{day},1d,d\n5,{day},1e400,e\n6,{day},"1,5",f\n'
        "7,{day},NaN,g\n8,{day},1e3,h\n 9 ,{day},-.5,i\n10,{day},,\n",
        4,
        [
            (2, "12abc,{day},1,a", [("type", "id")]),
            (3, "1.0,{day},1,b", [("type", "id")]),
            (4, "3000000000,{day},1,c", [("type", "id")]),
            (5, "4,{day},1d,d", [("type", "amount")]),
            (6, "5,{day},1e400,e", [("type", "amount")]),
            (7, '6,{day},"1,5",f', [("type", "amount")]),
        ],
    ),
    "two faults in a row": Case("x,{day},y,a\n", 0, [(2, "x,{day},y,a", [("type", "id"), ("type", "amount")])]),
    "dates of other forms": Case(
        "1,01/12/2010,1,a\n2,2010,1,b\n3,20101201,1,c\n4,08:26:00,1,d\n5,{day} at noon,1,e\n6,{day} 08:26:00,1,f\n",
        1,
        [
            (2, "1,01/12/2010,1,a", [("type", "day")]),
            (3, "2,2010,1,b", [("type", "day")]),
            (4, "3,20101201,1,c", [("type", "day")]),
            (5, "4,08:26:00,1,d", [("type", "day")]),
            (6, "5,{day} at noon,1,e", [("type", "day")]),
        ],
    ),
    "of another day": Case("1,{day},1,a\n2,1999-12-31,1,b\n", 1, [(3, "2,1999-12-31,1,b", [("interval", "day")])]),
    "no day": Case("1,{day},1,a\n2,,1,b\n", 1, [(3, "2,,1,b", [("not_null", "day")])]),
    "null where none may be": Case(",{day},1,a\n1,{day},1,b\n", 1, [(2, ",{day},1,a", [("not_null", "id")])]),
    "the same bad line twice": Case(
        "x,{day},1,a\n1,{day},1,b\n\nx,{day},1,a\n",
        1,
        [(2, "x,{day},1,a", [("type", "id")]), (5, "x,{day},1,a", [("type", "id")])],
    ),
    "the header again in the middle": Case(
        f"1,{{day}},1,a\n{HEADER}2,{{day}},1,b\n",
        2,
        [(3, HEADER.strip(), [("type", "id"), ("type", "day"), ("type", "amount")])],
    ),
    "gzip": Case(
        "1,{day},1,a\n\nx,{day},1,b\n", 1, [(4, "x,{day},1,b", [("type", "id")])], file="{day}.csv.gz", packed=True
    ),
    "a folder with the name of a file": Case(
        "1,{day},1,a\nx,{day},1,b\n", 1, [(3, "x,{day},1,b", [("type", "id")])], file="{day}.csv/part-00000.csv"
    ),
    "blanks and signs in the name": Case(
        "1,{day},1,a\nx,{day},1,b\n",
        1,
        [(3, "x,{day},1,b", [("type", "id")])],
        file="{day} a%20b+[c]{d}'é\u00a0ü#&;$,@!~^`=\U0001f600.csv",
    ),
    "a key and a value as the name": Case(
        "1,{day},1,a\nx,{day},1,b\n", 1, [(3, "x,{day},1,b", [("type", "id")])], file="dt={day}/a=b.csv"
    ),
    "reordered columns": Case(
        b"note,amount,day,id\na,1,{day},1\nb,1,{day},x\n", 1, [(3, "b,1,{day},x", [("type", "id")])], notes=["a"]
    ),
    "an extra column": Case(
        b"id,new,day,amount,note\n1,z,{day},1,a\nx,z,{day},1,b\n",
        1,
        [(3, "x,z,{day},1,b", [("type", "id")])],
        notes=["a"],
    ),
    "quoted names": Case(b'"id", "day" ,"amount",note \n1,{day},1,a\n', 1),
    "empty": Case(b"", failure=("malformed", r"\.csv is empty: it has not even a header")),
    "only blank lines": Case(b"\n  \n", failure=("malformed", "holds nothing but blank lines")),
    "a missing column": Case(b"id,day,amount\n1,{day},1\n", failure=("schema", r"lacks the column note\.")),
    "a doubled column": Case(
        b"id,day,amount,note,id\n1,{day},1,a,2\n", failure=("schema", "has the column id more than once")
    ),
    "another delimiter": Case(
        b"id;day;amount;note\n1;{day};1;a\n", failure=("schema", "lacks the columns id, day, amount, note")
    ),
    "no header": Case(b"1,{day},1,a\n", failure=("schema", "lacks the columns id, day, amount, note")),
    "UTF-16": Case(
        (HEADER + "1,2010-12-01,1,a\n").encode("utf-16"),
        failure=("malformed", "is UTF-16 text; the dataset declares UTF-8"),
    ),
    "UTF-16 without a mark": Case(
        (HEADER + "1,2010-12-01,1,a\n").encode("utf-16-le"), failure=("malformed", "has NUL bytes")
    ),
    "gzip that is cut far behind its beginning": Case(
        gzip.compress((HEADER + "".join(f"{n},2010-12-01,{n * 7919 % 1000},note\n" for n in range(20_000))).encode())[
            :-9
        ],
        file="{day}.csv.gz",
        failure=("malformed", r"\.csv\.gz cannot be decompressed: Compressed file ended before"),
    ),
    "gzip that is damaged": Case(
        gzip.compress((HEADER + "1,2010-12-01,1,a\n" * 50).encode())[:-8] + b"\0\0\0\0\0\0\0\0",
        file="{day}.csv.gz",
        failure=("malformed", r"\.csv\.gz cannot be decompressed: CRC check failed"),
    ),
    "gzip that is cut": Case(
        gzip.compress((HEADER + "1,2010-12-01,1,a\n" * 50).encode())[:-12],
        file="{day}.csv.gz",
        failure=("malformed", r"\.csv\.gz cannot be decompressed: Compressed file ended before"),
    ),
    "text by the name of gzip": Case(
        "1,{day},1,a\n",
        file="{day}.csv.gz",
        failure=("malformed", r"\.csv\.gz cannot be decompressed: Not a gzipped file"),
    ),
    "gzip by the name of text": Case(
        gzip.compress(b"id,day\n"), failure=("malformed", r"\.csv is gzip data, not text")
    ),
    "a zip archive": Case(b"PK\x03\x04\x14\x00", failure=("malformed", r"\.csv is a zip archive, not text")),
}


# Days of which nothing comes: no file at all, and a folder that has a file's name and is empty.
NO_FILE, EMPTY_FOLDER = FIRST + timedelta(1), FIRST + timedelta(2)


@dataclass(frozen=True)
class Night:
    """What a range came to, day by day."""

    lab: Lab
    document: dict[str, Any]
    days: Mapping[str, date]
    rows: Sequence[Mapping[str, Any]]
    rejected: Sequence[Mapping[str, Any]]

    def run(self, name: str) -> dict[str, Any]:
        """The document of one case's day."""
        return next(run for run in self.document["runs"] if run["interval"] == str(self.days[name]))

    def of(self, rows: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
        """The rows of one case's day."""
        return [row for row in rows if row["day"] == self.days[name]]


@pytest.fixture(scope="module")
def night(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """All cases in one run over as many days."""
    lab = Lab(tmp_path_factory.mktemp("night") / "a ü", spark, required=["id"])
    days = {name: FIRST + timedelta(at + 2 if at else 0) for at, name in enumerate(CSV)}
    for name, case in CSV.items():
        lab.give(case.file.replace("{day}", str(days[name])), case.bytes_of(str(days[name])))
    (lab.data / f"{EMPTY_FOLDER}.csv").mkdir()
    document = lab.run(FIRST, max(days.values()))
    assert document["failure"] is not None
    return Night(lab, document, days, lab.rows(), lab.rejected())


@pytest.mark.parametrize("name", [name for name, case in CSV.items() if case.failure is None])
def test_rows_of_a_day(night: Night, name: str) -> None:
    case, day = CSV[name], str(night.days[name])
    run = night.run(name)
    assert run["state"] == "succeeded", run["failure"]
    account = run["accounting"]["lines"]
    assert account["read"] == case.records(day)
    assert (account["accepted"], account["quarantined"]) == (case.accepted, len(case.rejected))
    assert account["read"] == account["accepted"] + account["quarantined"] + account["duplicates"]
    assert run["inputs"]["lines"]["rows"] == account["read"]
    held = sorted(night.of(night.rows, name), key=lambda row: row["id"])
    assert len(held) == case.accepted == run["outputs"]["lines"]["rows"]
    if case.notes is not None:
        assert [row["note"] for row in held] == list(case.notes)
    found = sorted(night.of(night.rejected, name), key=lambda row: row["line"])
    assert [row["line"] for row in found] == [line for line, _, _ in case.rejected]
    for row, (_, raw, reasons) in zip(found, case.rejected, strict=True):
        assert row["raw"] == raw.replace("{day}", day)[:1_000_000]
        assert [(reason["rule"], reason["column"]) for reason in row["reasons"]] == list(reasons)
        assert row["source_file"] == str(night.lab.data / case.file.replace("{day}", day))
        assert row["run_id"] == run["run_id"]


@pytest.mark.parametrize("name", [name for name, case in CSV.items() if case.failure is not None])
def test_days_that_fail_leave_the_others_alone(night: Night, name: str) -> None:
    kind, message = CSV[name].failure or ("", "")
    run = night.run(name)
    assert run["state"] == "failed"
    assert run["failure"]["class"] == kind
    assert re.search(message, run["failure"]["message"])
    assert str(night.days[name]) in run["failure"]["message"]
    assert run["failure"]["next"]
    assert run["accounting"] == {}
    assert not night.of(night.rows, name)


def test_the_whole_of_it_adds_up(night: Night) -> None:
    account = night.document["accounting"]["lines"]
    assert night.document["state"] == "failed"
    assert exit_code("failed") == 1
    assert night.document["states"] == {
        "failed": sum(case.failure is not None for case in CSV.values()),
        "succeeded": sum(case.failure is None for case in CSV.values()),
        "skipped": 2,
    }
    assert account["read"] == sum(case.records(str(night.days[n])) for n, case in CSV.items() if not case.failure)
    assert (account["accepted"], account["quarantined"]) == (len(night.rows), len(night.rejected))
    assert sum(account[name] for name in ("accepted", "quarantined", "duplicates")) == account["read"]
    assert any("column new is new: ignored" in note for note in night.document["notes"])


def test_the_reasons_name_column_and_value(night: Night) -> None:
    rows = sorted(night.of(night.rejected, "types that do not fit"), key=lambda row: row["line"])
    told = [(r["column"], r["value"], r["message"]) for row in rows for r in row["reasons"]]
    assert told[2] == ("id", "3000000000", "is not int")
    assert told[-1] == ("amount", "1,5", "is not double")
    outside = night.of(night.rejected, "of another day")[0] if night.of(night.rejected, "of another day") else None
    assert outside is not None
    assert outside["reasons"][0]["value"] == "1999-12-31"
    assert outside["reasons"][0]["message"] == f"is outside of the slice of its file, {night.days['of another day']}"


def test_a_wrong_delimiter_is_guessed(night: Night) -> None:
    failure = night.run("another delimiter")["failure"]
    assert "separated by ';'; the dataset declares ','" in failure["next"]
    assert failure["evidence"] == ["declared: id, day, amount, note", "found: id;day;amount;note"]


@pytest.mark.parametrize("day", [NO_FILE, EMPTY_FOLDER])
def test_a_missing_day_is_skipped(night: Night, day: date) -> None:
    run = next(run for run in night.document["runs"] if run["interval"] == str(day))
    assert (run["state"], run["reason"]) == ("skipped", "no input")
    alone = night.lab.command("run", f"{night.lab.job_file}:job", "--interval", str(day))
    assert (alone["state"], alone["reason"]) == ("skipped", "no input")


def test_status_shows_what_is_missing_and_what_failed(night: Night) -> None:
    (job,) = night.lab.command("status", f"{night.lab.job_file}:job")["jobs"]
    bad = [name for name, case in CSV.items() if case.failure]
    assert [each["interval"] for each in job["intervals"]["no input"]] == [str(NO_FILE), str(EMPTY_FOLDER)]
    assert [each["interval"] for each in job["intervals"]["failed"]] == [str(night.days[name]) for name in bad]
    assert all(str(night.lab.data) in each["why"] for each in job["intervals"]["failed"])
    assert job["counts"] == {"done": len(CSV) - len(bad), "failed": len(bad), "no input": 2}


@pytest.mark.parametrize("name", ["empty", "a missing column", "gzip that is cut"])
def test_a_day_that_fails_alone_exits_1(night: Night, name: str) -> None:
    kind, message = CSV[name].failure or ("", "")
    alone = night.lab.command("run", f"{night.lab.job_file}:job", "--interval", str(night.days[name]), code=1)
    assert (alone["state"], alone["failure"]["class"]) == ("failed", kind), alone["failure"]
    assert re.search(message, alone["failure"]["message"])


def test_an_unreadable_file_is_named(tmp_path: Path, spark: SparkSession) -> None:
    lab = Lab(tmp_path, spark)
    path = lab.give(f"{FIRST}.csv", HEADER + f"1,{FIRST},1,a\n")
    path.chmod(0)
    prefix = []
    if os.access(path, os.R_OK):
        prefix = [sys.executable, "-c", _WITHOUT_PRIVILEGES]
        if subprocess.run([*prefix, "true"], check=False).returncode != 0:
            pytest.skip("this user reads every file, and cannot give that up")
    run = lab.command("run", f"{lab.job_file}:job", "--interval", str(FIRST), code=1, prefix=prefix)
    assert run["failure"]["class"] == "permission"
    assert run["failure"]["message"] == f"{path} cannot be read: Permission denied."


# Gives up the two capabilities by which root reads what it has no right to (prctl PR_CAPBSET_DROP), then becomes argv.
_WITHOUT_PRIVILEGES = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
for capability in (1, 2):
    if libc.prctl(24, capability, 0, 0, 0):
        sys.exit(1)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_the_quarantine_can_be_looked_at(night: Night) -> None:
    day = night.days["types that do not fit"]
    found = night.lab.command("quarantine", "lab.lines", "--interval", str(day), "--limit", "2")
    assert (found["rows"], found["reasons"], len(found["examples"])) == (6, {"type": 6}, 2)
    whole = night.lab.command("quarantine", "lab.lines")
    assert whole["rows"] == len(night.rejected)
    held = DeltaTable(whole["path"]).to_pyarrow_table()  # noqa: F841 - DuckDB finds it by its name
    by_rule = duckdb.sql("SELECT r.rule, count(*) FROM (SELECT unnest(reasons) AS r FROM held) GROUP BY ALL")
    assert dict(by_rule.fetchall()) == whole["reasons"]


# The rows of the table in docs/bad-input.md, by their beginnings, and the cases that prove them.
PROVEN = {
    "a header and nothing else": ["header only", "header without a line end"],
    "no line end at the end": [
        *["good", "no line end at the end", "blank lines", "blank lines above the header"],
        *["CR LF", "CR", "mixed line ends"],
    ],
    "a byte order mark": ["byte order mark"],
    "quotes in and around": ["quotes within", "quoted names"],
    "columns in another order": ["reordered columns"],
    "a new column": ["an extra column"],
    "gzip (also": ["gzip"],
    "a folder named": [
        *["a folder with the name of a file", "blanks and signs in the name", "a key and a value as the name"],
    ],
    "a line of 10 MB": ["a line of 10 MB"],
    "too many or too few": [
        *["more columns", "fewer columns", "very many columns", "a quoted line end"],
        *["a quote never closed, in the last column", "a quote never closed, in the first"],
    ],
    "a value that is not": [
        *["types that do not fit", "two faults in a row", "dates of other forms", "the same bad line twice"],
        "the header again in the middle",
    ],
    "bytes that are not UTF-8": ["bad UTF-8", "surrogates as UTF-8", "NUL"],
    "a row of another day": ["of another day"],
    "nothing where a value": ["no day", "null where none may be"],
    "an empty file": ["empty", "only blank lines"],
    "UTF-16": ["UTF-16", "UTF-16 without a mark"],
    "gzip that is cut": [
        *["gzip that is cut", "gzip that is cut far behind its beginning", "gzip that is damaged"],
        "text by the name of gzip",
    ],
    "gzip or zip": ["gzip by the name of text", "a zip archive"],
    "a missing column": ["a missing column", "a doubled column"],
    "another delimiter": ["another delimiter", "no header"],
}


def test_the_table_of_the_docs_says_what_these_tests_prove(checkout: Path) -> None:
    lines = (checkout / "docs" / "bad-input.md").read_text("utf-8").splitlines()
    at = lines.index("| comes in | what happens | exit | where to look |") + 2
    told = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[at : lines.index("", at)]]
    first, last = told.pop(0), told.pop()
    assert (first[1], first[2]) == ("skipped, `no input`", "0")  # test_a_missing_day_is_skipped
    assert (last[1], last[2]) == ("the interval fails, `permission`", "1")  # test_an_unreadable_file_is_named
    assert sorted(name for names in PROVEN.values() for name in names) == sorted(CSV)
    assert len(told) == len(PROVEN)
    for (comes, happens, code, where), (begins, names) in zip(told, PROVEN.items(), strict=True):
        assert comes.startswith(begins)
        kinds = {case.failure[0] for name in names if (case := CSV[name]).failure}
        rules = {rule for name in names for _, _, reasons in CSV[name].rejected for rule, _ in reasons}
        if kinds:
            assert all(CSV[name].failure for name in names)
            assert (code, where) == ("1", "`penstock status`")
            assert happens.startswith(f"the interval fails, `{kinds.pop()}`")
            assert not kinds
        elif where == "`penstock quarantine`":
            assert code == "0"
            assert happens.startswith("row to quarantine, ")
            assert all(f"`{rule}`" in happens for rule in rules)
        else:
            # Where a row is refused here, it is one that shows by its line that lines are counted well.
            assert code == "0"
            assert rules <= {"type"}
