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


RULES: list[tuple[str, str, dict[str, Any], str, str, float | None]] = [
    (
        "stock_code_length",
        "expect_column_value_lengths_to_be_between",
        {"column": "stock_code", "min_value": 1},
        "reject",
        "",
        0,
    ),
    (
        "sale_of_something",
        "expect_column_values_to_be_between",
        {"column": "quantity", "min_value": 1, "row_condition": "kind = 'sale'"},
        "reject",
        "",
        0.0021,
    ),
    (
        "description_given",
        "expect_column_values_to_not_be_null",
        {"column": "description", "mostly": 0.95},
        "warn",
        "The staff leaves it out where stock is corrected.",
        0.004,
    ),
    (
        "description_of_staff",
        "expect_column_values_to_not_match_regex",
        {"column": "description", "regex": r"(?i)^(\?+|damaged?s?|lost|<b>|missing)", "row_condition": "is_product"},
        "warn",
        "Notes of the staff where the name of a product should be.",
        0.0012,
    ),
    (
        "kinds",
        "expect_column_values_to_be_in_set",
        {"column": "kind", "value_set": ["sale", "cancellation"]},
        "reject",
        "",
        0,
    ),
    ("country_form", "expect_column_values_to_match_regex", {"column": "country", "regex": "^[A-Z]"}, "reject", "", 0),
    (
        "customer_known",
        "expect_column_values_to_not_be_null",
        {"column": "customer_id", "mostly": 0.5},
        "warn",
        "",
        0.26,
    ),
    (
        "usual_number_of_lines",
        "expect_table_row_count_to_match_history",
        {"runs": 20, "max_change": 4.0},
        "fail",
        "",
        None,
    ),
    (
        "mean_price_credible",
        "expect_column_mean_to_be_between",
        {"column": "unit_price", "min_value": 0.5, "max_value": 50},
        "warn",
        "",
        None,
    ),
]
UNMET = ("sale_of_something", "description_of_staff")


def rules_of_run(rows: int, day: int, *, refused: bool = False) -> dict[str, Any]:
    """What a run's document says of its rules; on some days two of them are not met."""
    each: dict[str, Any] = {}
    not_met = []
    for name, _, _, severity, _, part in RULES:
        if part is None:
            each[name] = float(rows) if name == "usual_number_of_lines" else round(4 + math.sin(day), 3)
            unmet = refused and name == "usual_number_of_lines"
        else:
            unexpected = round(rows * part * (1 + math.sin(day / 2))) if day % 3 or name not in UNMET else 0
            each[name] = [rows, unexpected]
            unmet = name in UNMET and unexpected > 0
        if unmet:
            not_met.append({"rule": name, "severity": severity})
    quality: dict[str, Any] = {
        "rules": {"lines": {"met": len(RULES) - len(not_met), "of": len(RULES), "not_met": not_met, "each": each}}
    }
    if not refused:
        quality["metrics"] = {"lines": {"rows()": float(rows), "distinct(invoice_no)": 100.0 + day % 7}}
    return quality


def rules_of_batch(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same summed over the runs of a batch."""
    judged = [run for run in runs if "quality" in run]
    told = []
    for name, expectation, arguments, severity, description, part in RULES:
        each = [run["quality"]["rules"]["lines"]["each"][name] for run in judged]
        unmet = [
            run["interval"]
            for run in judged
            if any(rule["rule"] == name for rule in run["quality"]["rules"]["lines"]["not_met"])
        ]
        told.append(
            {
                "rule": name,
                "expectation": expectation,
                "arguments": arguments,
                "severity": severity,
                "description": description,
                "success": not unmet,
                "slices": len(judged),
                "met": len(judged) - len(unmet),
                "not_met_in": unmet[:5],
                "element_count": None if part is None else sum(one[0] for one in each),
                "missing_count": None if part is None else 0,
                "unexpected_count": None if part is None else sum(one[1] for one in each),
                "observed": each[0] if part is None and len(each) == 1 else None,
            }
        )
    return told


def judged_run(before: int = 14) -> dict[str, Any]:
    """A run over one interval whose output has rules, after some others."""
    doc = single_run()
    doc["runs"][0]["quality"] = rules_of_run(3061, 20)
    past = []
    for n in range(before):
        day = (date(2010, 12, 1) - timedelta(days=before - n)).isoformat()
        rows = round(2600 + 700 * math.sin(n))
        past.append(
            {
                "interval": day,
                "run_id": f"r-{day}",
                "state": "refused" if n == 5 else "succeeded",
                "rows": {"lines": 0 if n == 5 else rows},
                "metrics": {},
                **rules_of_run(rows, n, refused=n == 5),
            }
        )
    doc["quality"] = {**quarantine(), "rules": {"lines": rules_of_batch(doc["runs"])}, "earlier": past}
    doc["quality"]["quarantine"]["lines"]["reasons"]["sale_of_something"] = 12
    return doc


def judged_range(days: int = 28) -> dict[str, Any]:
    """A range whose output has rules; one of them refused two of its intervals."""
    doc = range_run(days)
    for n, one in enumerate(doc["runs"]):
        if one["state"] == "succeeded":
            rows = one["outputs"]["lines"]["rows"]
            if n in {8, 19}:
                one.update(state="refused", reason="retail_lines: lines breaks 1 rule.", accounting={}, outputs={})
            one["quality"] = rules_of_run(rows, n, refused=one["state"] == "refused")
    states = [one["state"] for one in doc["runs"]]
    return {
        **doc,
        "state": "refused",
        "states": {state: states.count(state) for state in dict.fromkeys(states)},
        "quality": {**quarantine(), "rules": {"lines": rules_of_batch(doc["runs"])}, "earlier": []},
        "failure": {
            "class": "quality",
            "message": "retail_lines: lines of 2010-12-09 breaks 1 rule of the severity fail (usual_number_of_lines). "
            "Nothing of it was published.",
            "place": None,
            "evidence": [
                "usual_number_of_lines: found 12, expected: the number of rows is within 400 % of the usual",
            ],
            "next": "Look at the rules on the run's page; mend the input or the rule, and run it again.",
        },
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


@pytest.mark.parametrize("make", [single_run, range_run, judged_run, judged_range, failed_run, night])
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
