"""The benchmarks of rules: 25 of them beside a bare write of the same rows, and beside Great Expectations."""

from __future__ import annotations

import json
import shlex
import shutil
import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OPPONENTS = HERE.parent.parent.parent / "shared" / "bench"
BARE, BY_GX = OPPONENTS / "rules_by_hand.py", OPPONENTS / "rules_gx.py"
# Where Great Expectations is, or would be, in this environment (the extra quality-gx).
GX = Path(sysconfig.get_paths()["purelib"]) / "great_expectations"
PENSTOCK = str(Path(sys.executable).with_name("penstock"))
ROWS = 5_000_000
RUNS = 3


def orders(folder: Path) -> Path:
    """Five million rows for rules, with about 1 % bad values a column; made once a benchmark, beside its folders."""
    made = folder.parent / "orders"
    if not made.exists():
        make = [sys.executable, str(OPPONENTS / "make_data.py"), "table", str(made), "--rows", str(ROWS)]
        subprocess.run(make, check=True)
    return made


def gated(folder: Path) -> list[str]:
    """The table written again through the gate, with 25 rules of which 17 keep rows out."""
    where = [f"--input=bench.raw={orders(folder)}", f"--warehouse={folder}", f"--conf={HERE / 'conf'}"]
    return [PENSTOCK, "run", f"{HERE / 'orders.py'}:job", "--interval=all", *where]


def checked(folder: Path) -> list[str]:
    """The same rules put to the file, and nothing written; some are not met, so its exit code is 3."""
    where = [f"--input=bench.raw={orders(folder)}", f"--warehouse={folder}", f"--conf={HERE / 'conf'}"]
    command = shlex.join([PENSTOCK, "quality", "check", "bench.raw", *where])
    return ["bash", "-c", f"{command}; test $? -eq 3"]


def bare(folder: Path) -> list[str]:
    """The write without rules."""
    return [sys.executable, str(BARE), str(orders(folder)), str(folder)]


def by_gx(folder: Path) -> list[str]:
    """The rules without a write."""
    return [sys.executable, str(BY_GX), str(orders(folder)), "--format", "SUMMARY"]


def written(folder: Path) -> int:
    """Rows of the gated table and of its quarantine, by their logs."""
    from deltalake import DeltaTable

    return sum(DeltaTable(str(folder / "bench" / name)).count() for name in ("orders", "orders_quarantine"))


def price(scratch: Path, timed: Callable[[list[str]], float]) -> dict[str, Any]:
    """What 25 rules cost, by us and by Great Expectations.

    Ours are the seconds by which the gated write is longer than the bare write of the same rows; theirs is the script's
    own figure for the rules alone, without the start of Spark and without any write. The three commands are run in
    turn, and the answers to the rules on values are compared.
    """
    if not GX.exists():
        sys.exit("rules_gx: Great Expectations is not installed: pip install 'penstock[quality-gx]'")
    ours: list[float] = []
    plain: list[float] = []
    theirs: list[float] = []
    same = True
    for turn in range(RUNS + 1):
        gate, copy, said = (scratch / f"{what}-{turn}" for what in ("gated", "bare", "gx.txt"))
        seconds = [timed(gated(gate)), timed(bare(copy))]
        timed(["bash", "-c", f"{shlex.join(by_gx(gate))} > {shlex.quote(str(said))}"])
        report, answers = (json.loads(line) for line in said.read_text().splitlines() if line[:1] in "{[")
        same = same and _unexpected(gate) == sorted(each["unexpected"] for each in answers if each["unexpected"])
        shutil.rmtree(gate)
        shutil.rmtree(copy)
        if turn:
            ours, plain, theirs = [*ours, seconds[0]], [*plain, seconds[1]], [*theirs, report["seconds"]]
    added = statistics.median(ours) - statistics.median(plain)
    gx = statistics.median(theirs)
    return {
        "bench": "rules_gx",
        "ours_s": round(added, 3),
        "opponent_s": gx,
        "ratio": round(gx / added, 2) if added > 0 else None,
        "runs": RUNS,
        "rows": ROWS,
        "same_answers": same,
        "gated_all_s": [round(each, 3) for each in ours],
        "bare_all_s": [round(each, 3) for each in plain],
        "gx_all_s": theirs,
    }


def _unexpected(folder: Path) -> list[int]:
    """How many rows each rule on values found, of those that found any."""
    record = json.loads(next(folder.glob("_penstock/runs/*/run.json")).read_text("utf-8"))
    (rules,) = record["quality"]["rules"].values()
    return sorted(rule["unexpected_count"] for rule in rules if rule["unexpected_count"])
