"""Log lines on real files: the counted figures of elastic_examples, lnav's files, and parsers of other people."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from deltalake import DeltaTable

from penstock import registry, runner
from penstock.config import load
from penstock.spec import asked_intervals, resolve

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def warehouse(shared_data: Path, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs `log_lines` over a folder of mixed files, with no configuration, and gives its document and tables."""

    def run(source: Path, day: str) -> tuple[dict[str, Any], Any, Any]:
        folder = tmp_path_factory.mktemp("warehouse")
        config = load(inputs={"logs.raw": str(source)}, warehouse=folder, environ={})
        job = registry.job("log_lines")
        asked = asked_intervals(job, "UTC", interval=day, first=None, last=None)
        document = runner.run(resolve(job, asked, config, {}), config, lambda: spark)
        assert document["state"] == "succeeded", document["failure"]
        lines = DeltaTable(str(folder / "logs" / "lines")).to_pyarrow_table()
        refused = folder / "logs" / "lines_quarantine"
        return document, lines, DeltaTable(str(refused)).to_pyarrow_table() if refused.exists() else None

    return run


def test_apache_logs_to_the_last_figure(warehouse: Any, shared_data: Path) -> None:
    source = shared_data / "logs" / "elastic_examples" / "apache_logs" / "apache_logs"
    document, lines, refused = warehouse(source, "2015-05-20")
    account = document["accounting"]["lines"]
    assert (account["read"], account["accepted"], account["quarantined"]) == (10_000, 9_999, 1)
    assert [(row["line"], row["source_file"]) for row in refused.to_pylist()] == [(8899, str(source))]
    database = duckdb.connect()
    database.register("lines", lines)
    query = lambda sql: database.sql(sql).fetchall()  # noqa: E731
    status = dict(query("SELECT http_response_status_code, count(*) FROM lines GROUP BY 1"))
    assert status == {200: 9125, 304: 445, 404: 213, 301: 164, 206: 45, 500: 3, 403: 2, 416: 2}
    methods = dict(query("SELECT http_request_method, count(*) FROM lines GROUP BY 1"))
    assert methods == {"GET": 9951, "HEAD": 42, "POST": 5, "OPTIONS": 1}
    addresses = query("SELECT source_address, count(*) n FROM lines GROUP BY 1 ORDER BY n DESC")
    assert (len(addresses), addresses[0]) == (1753, ("66.249.73.135", 482))
    size = query("SELECT sum(http_response_body_bytes)::BIGINT, count(*) - count(http_response_body_bytes) FROM lines")
    assert size == [(2_747_282_505, 669)]
    first = "left(arg_min(timestamp, log_offset)::VARCHAR, 19), left(arg_max(timestamp, log_offset)::VARCHAR, 19)"
    span = query(f"SELECT {first} FROM lines")
    assert span == [("2015-05-17 10:05:03", "2015-05-20 21:05:15")]
    print(f"\napache_logs: 10,000 read, 9,999 rows, 1 in quarantine (line 8899); {status}; {methods}; {size}; {span}")


def test_apache_logs_line_by_line_against_another_parser(warehouse: Any, shared_data: Path) -> None:
    apachelogs = pytest.importorskip("apachelogs")
    source = shared_data / "logs" / "elastic_examples" / "apache_logs" / "apache_logs"
    _, lines, _ = warehouse(source, "2015-05-20")
    theirs = apachelogs.LogParser(apachelogs.COMBINED)
    compared = 0
    for row in lines.to_pylist():
        entry = theirs.parse(row["event_original"])
        line = (entry.request_line or "").split(" ")
        assert row["source_address"] == entry.remote_host
        assert row["timestamp"] == entry.request_time
        assert row["http_response_status_code"] == entry.final_status
        assert row["http_response_body_bytes"] == entry.bytes_sent
        assert unescaped(row["http_request_referrer"]) == entry.headers_in["Referer"]
        assert unescaped(row["user_agent_original"]) == entry.headers_in["User-Agent"]
        assert (row["http_request_method"], row["url_original"]) == (line[0], " ".join(line[1:-1]))
        compared += 1
    assert compared == 9_999
    print(f"\napache_logs against apachelogs: 8 fields of {compared:,} lines are the same")


def unescaped(text: str | None) -> str | None:
    """A value as it was before Apache wrote it down; ours stays as it is written."""
    return re.sub(r"\\x([0-9a-f]{2})|\\(.)", lambda m: chr(int(m[1], 16)) if m[1] else m[2], text) if text else text


@pytest.mark.parametrize("system", ["Linux", "OpenSSH"])
def test_syslog_line_by_line_against_another_parser(warehouse: Any, shared_data: Path, system: str) -> None:
    pygrok = pytest.importorskip("pygrok")
    source = shared_data / "logs" / "loghub_2k" / system / f"{system}_2k.log"
    _, lines, refused = warehouse(source, "2026-01-13")
    assert refused is None
    pattern = (
        r"^%{SYSLOGTIMESTAMP:stamp} %{SYSLOGHOST:host} (?<tag>[^\s:\[]+)(?:\[%{POSINT:pid}\])?: %{GREEDYDATA:message}$"
    )
    grok = pygrok.Grok(pattern)
    compared = 0
    for row in lines.to_pylist():
        found = grok.match(row["event_original"])
        if found is None:
            continue
        assert row["host_hostname"] == found["host"]
        assert row["process_pid"] == (int(found["pid"]) if found["pid"] else None), row
        assert row["message"] == found["message"]
        assert row["timestamp"].strftime("%b %d %H:%M:%S") == _with_zero(found["stamp"])
        compared += 1
    assert compared > 1_900
    print(f"\n{system}: host, process, message and moment of {compared:,} of 2,000 lines are as pygrok has them")


def _with_zero(stamp: str) -> str:
    month, day, clock = stamp.split()
    return f"{month} {int(day):02d} {clock}"


def test_files_of_lnav(warehouse: Any, shared_data: Path) -> None:
    folder = shared_data / "logs" / "lnav"
    document, lines, refused = warehouse(folder, "2026-01-13")
    account = document["accounting"]["lines"]
    kept, gone = Counter[str](), Counter[str]()
    held = Counter[str]()
    for row in lines.to_pylist():
        kept[Path(row["log_file_path"]).name] += 1
        held[Path(row["log_file_path"]).name] += row["event_original"].count("\n") + 1
    unknown = set()
    for row in refused.to_pylist():
        name = Path(row["source_file"]).name
        gone[name] += 1
        held[name] += row["raw"].count("\n") + 1
        unknown |= {name for reason in row["reasons"] if reason["rule"] == "unknown format"}
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 49
    left = 0
    for name in files:
        lines_there = len((folder / name).read_bytes().split(b"\n")) - (folder / name).read_bytes().endswith(b"\n")
        left += lines_there - held[name]
    assert left == sum(account["dropped"].values())
    assert set(account["dropped"]) <= {"header", "blank line"}
    parsed = [name for name in files if kept[name] > gone[name]]
    print(f"\nlnav: {len(parsed)} of 49 files parsed; unknown: {sorted(unknown)}; mostly refused: "
          f"{sorted(set(files) - set(parsed) - unknown)}; dropped: {account['dropped']}")  # fmt: skip
    assert len(parsed) >= 40
    assert set(files) - set(parsed) <= unknown | set(gone)
