"""Realistic documents for the tests of pages and summaries, and a check that they can be written."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.report.record import read_json, to_json, write_json

START = datetime(2026, 1, 10, 2, 0, 4, tzinfo=UTC)
STEPS = [
    ("session", 3.1),
    ("fingerprint", 0.4),
    ("read and gate", 21.7),
    ("audit", 0.9),
    ("publish", 0.3),
    ("account", 0.1),
]


def steps(scale: float = 1.0) -> list[dict[str, Any]]:
    return [{"name": name, "seconds": round(seconds * scale, 2)} for name, seconds in STEPS]


def earlier(number: int = 6, scale: float = 1.0) -> list[dict[str, Any]]:
    return [
        {
            "batch_id": f"b{n}",
            "started": START - timedelta(days=n + 1),
            "seconds": 26.5 * scale * (1 + n / 40),
            "steps": [{**step, "seconds": step["seconds"] * (0.75 + n / 20)} for step in steps(scale)],
        }
        for n in range(number)
    ]


def quarantine() -> dict[str, Any]:
    folder = "/home/ana/data/retail"
    return {
        "quarantine": {
            "lines": {
                "dataset": "retail.lines",
                "path": "/home/ana/warehouse/retail/lines__quarantine",
                "reasons": {"declared type": 31, "not null": 4, "belongs to its slice": 2},
                "examples": [
                    {
                        "source_file": f"{folder}/2010-12-01.csv",
                        "line": 1043,
                        "raw": '536414,22139,"RETROSPOT TEA SET <script>alert(1)</script>",fifty-six,'
                        "2010-12-01 11:52:00,4.25,17850.0,United Kingdom",
                        "reasons": [
                            {
                                "rule": "declared type",
                                "column": "Quantity",
                                "value": "fifty-six",
                                "message": "is no int",
                            }
                        ],
                    },
                    {
                        "source_file": f"{folder}/2010-12-01.csv",
                        "line": 2087,
                        "raw": "536592,,\x00\u202e,1,2010-12-01 17:06:00",
                        "reasons": [
                            {"rule": "not null", "column": "StockCode", "value": None, "message": "must not be null"},
                            {
                                "rule": "belongs to its slice",
                                "column": "InvoiceDate",
                                "value": "2010-11-30 23:59:00",
                                "message": "is outside 2010-12-01",
                            },
                        ],
                    },
                ],
            }
        }
    }


def run(interval: str, read: int, *, state: str = "succeeded", reason: str | None = None) -> dict[str, Any]:
    quarantined = read // 400
    duplicates = read // 103
    dropped = {"test order": read // 900} if read > 900 else {}
    accepted = read - quarantined - duplicates - sum(dropped.values())
    doc: dict[str, Any] = {
        "run_id": f"r-{interval}",
        "run_key": "8f14e45fceea",
        "job": "retail_lines",
        "interval": interval,
        "state": state,
        "reason": reason,
    }
    if state == "succeeded":
        doc["accounting"] = {
            "lines": {
                "read": read,
                "accepted": accepted,
                "quarantined": quarantined,
                "dropped": dropped,
                "duplicates": duplicates,
            }
        }
        doc["outputs"] = {
            "lines": {"dataset": "retail.lines", "rows": accepted, "replaced_rows": 0, "files": 1, "bytes": read * 21}
        }
    return doc


def single_run() -> dict[str, Any]:
    one = {**run("2010-12-01", 3108), "attempt": 2, "epoch": 7}
    return {
        "batch_id": "20260110T020004-retail_lines-5f2c",
        "job": "retail_lines",
        "from": "2010-12-01",
        "to": "2010-12-01",
        "state": "succeeded",
        "env": "local",
        "code_version": "0.1.0+g3f9c2ab",
        "params": {"strip_customer_suffix": True, "jdbc_password": "hunter2", "rate": Decimal("0.20")},
        "intervals": 1,
        "states": {"succeeded": 1},
        "started": START,
        "ended": START + timedelta(seconds=26.5),
        "seconds": 26.5,
        "steps": steps(),
        "inputs": {
            "raw": {"dataset": "retail.raw", "rows": 3108, "fingerprint": "sha256:9b1c0ffee42d7781aa01", "files": 1}
        },
        "outputs": {
            "lines": {
                "dataset": "retail.lines",
                "format": "delta",
                "path": "/home/ana/warehouse/retail/lines",
                "mode": "replace_slice",
                "rows": one["accounting"]["lines"]["accepted"],
                "replaced_rows": 3066,
                "files": 1,
                "bytes": 74_410,
                "version": 12,
            }
        },
        "accounting": one["accounting"],
        "quality": quarantine(),
        "failure": None,
        "runs": [one],
        "page": None,
        "command": "penstock run retail_lines --interval 2010-12-01 --data /home/ana/data --set jdbc_password=hunter2",
        "earlier": earlier(),
    }


def range_run(days: int = 305, first: date = date(2010, 12, 1)) -> dict[str, Any]:
    runs = []
    for number in range(days):
        day = first + timedelta(days=number)
        read = round(1800 + 900 * math.sin(number / 9) + (number % 7) * 260)
        if day.weekday() == 5:
            runs.append(run(day.isoformat(), 0, state="skipped", reason="no input"))
        else:
            runs.append(run(day.isoformat(), read))
    accounted = [one["accounting"]["lines"] for one in runs if "accounting" in one]
    sums: dict[str, Any] = {
        part: sum(line[part] for line in accounted) for part in ("read", "accepted", "quarantined", "duplicates")
    }
    sums["dropped"] = {"test order": sum(sum(line["dropped"].values()) for line in accounted)}
    done = len(accounted)
    doc = single_run()
    lines = {
        **doc["outputs"]["lines"],
        "rows": sums["accepted"],
        "replaced_rows": 0,
        "files": done,
        "bytes": 12_400_000,
        "version": 1,
    }
    return {
        **doc,
        "batch_id": "20260110T020004-retail_lines-77aa",
        "from": first.isoformat(),
        "to": (first + timedelta(days=days - 1)).isoformat(),
        "intervals": days,
        "states": {"succeeded": done, "skipped": days - done},
        "inputs": {
            "raw": {"dataset": "retail.raw", "rows": sums["read"], "fingerprint": "sha256:0a5d1c77", "files": done}
        },
        "outputs": {"lines": lines},
        "accounting": {"lines": sums},
        "runs": runs,
        "command": f"penstock run retail_lines --from {first} --to {first + timedelta(days=days - 1)}",
    }


def failed_run() -> dict[str, Any]:
    doc = single_run()
    one = run("2010-12-02", 0, state="failed")
    return {
        **doc,
        "batch_id": "20260110T020103-retail_customers-19e0",
        "job": "retail_customers",
        "from": "2010-12-02",
        "to": "2010-12-02",
        "state": "failed",
        "states": {"failed": 1},
        "inputs": {"lines": {"dataset": "retail.lines", "rows": None, "fingerprint": "delta:12", "files": 1}},
        "outputs": {},
        "accounting": {},
        "quality": {"quarantine": {}},
        "runs": [one],
        "steps": [{"name": "session", "seconds": 3.3}, {"name": "read and gate", "seconds": 1.2}],
        "seconds": 4.6,
        "started": START + timedelta(seconds=59),
        "failure": {
            "class": "user code",
            "message": "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column, variable, "
            "or function parameter with name `customer` cannot be resolved.",
            "place": "jobs/penstock_jobs/etl/retail_customers.py:48",
            "evidence": [
                'retail_customers.py:48  .groupBy("customer")',
                "Did you mean one of the following? [`customer_id`, `country`, `invoice`]. SQLSTATE: 42703",
            ],
            "next": "Mend the line above, then run again: penstock run retail_customers --interval 2010-12-02",
        },
        "command": "penstock run retail_customers --interval 2010-12-02",
    }


def aggregate_run(job: str, rows: int) -> dict[str, Any]:
    doc = single_run()
    out = {
        **doc["outputs"]["lines"],
        "dataset": job.replace("retail_", "retail."),
        "rows": rows,
        "replaced_rows": None,
        "path": f"/home/ana/warehouse/{job}",
    }
    return {
        **doc,
        "batch_id": f"20260110T020040-{job}-0001",
        "job": job,
        "inputs": {"lines": {"dataset": "retail.lines", "rows": 3068, "fingerprint": "delta:12", "files": 1}},
        "outputs": {"out": out},
        "accounting": {},
        "quality": {"quarantine": {}},
        "started": START + timedelta(seconds=28),
        "seconds": 11.2,
        "earlier": [],
        "command": f"penstock run {job} --interval 2010-12-01",
    }


def night() -> dict[str, Any]:
    lines = single_run()
    jobs = [
        {
            "job": "retail_lines",
            "state": "succeeded",
            "reason": None,
            "batch": lines,
            "depends_on": [],
            "page": "../../runs/a/index.html",
        },
        {
            "job": "retail_daily_sales",
            "state": "succeeded",
            "reason": None,
            "batch": aggregate_run("retail_daily_sales", 14),
            "depends_on": ["retail_lines"],
            "page": "../../runs/b/index.html",
        },
        {
            "job": "retail_customers",
            "state": "failed",
            "reason": None,
            "batch": failed_run(),
            "depends_on": ["retail_lines"],
            "page": "../../runs/c/index.html",
        },
        {
            "job": "retail_segments",
            "state": "skipped",
            "reason": "retail_customers failed",
            "batch": None,
            "depends_on": ["retail_customers"],
            "page": None,
        },
        {
            "job": "retail_products",
            "state": "succeeded",
            "reason": None,
            "batch": aggregate_run("retail_products", 1342),
            "depends_on": ["retail_lines"],
            "page": "../../runs/e/index.html",
        },
    ]
    return {
        "night_id": "20260110T020004-nightly",
        "env": "local",
        "from": "2010-12-01",
        "to": "2010-12-02",
        "started": START,
        "ended": START + timedelta(seconds=71),
        "seconds": 71.4,
        "state": "failed",
        "jobs": jobs,
        "command": "penstock nightly --from 2010-12-01 --to 2010-12-02 --data /home/ana/data",
    }


@pytest.mark.parametrize("make", [single_run, range_run, failed_run, night])
def test_documents_come_back_from_their_files(make: Any, tmp_path: Path) -> None:
    doc = make()
    write_json(tmp_path / "deep" / "run.json", doc)
    assert read_json(tmp_path / "deep" / "run.json") == json.loads(to_json(doc))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run.json"]


def test_only_known_types_are_written(tmp_path: Path) -> None:
    assert json.loads(to_json({"a": Decimal("1.10"), "b": START, "c": (1, None, True), "d": math.inf})) == {
        "a": "1.10",
        "b": "2026-01-10T02:00:04+00:00",
        "c": [1, None, True],
        "d": "inf",
    }
    with pytest.raises(TypeError, match="bytes"):
        to_json({"a": b"secret"})
    with pytest.raises(TypeError, match="key"):
        to_json({"a": {1: 2}})


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"state": "running"})
    with pytest.raises(TypeError):
        write_json(path, {"state": object()})
    assert read_json(path) == {"state": "running"}
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_of_a_broken_file_survive_the_record(tmp_path: Path) -> None:
    raw = b"caf\xe9".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "run.json", {"raw": raw})
    assert read_json(tmp_path / "run.json") == {"raw": raw}
