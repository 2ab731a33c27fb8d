"""The sample of card transactions is the same for the same seed, and its truth is what the files hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from penstock_jobs.samples.transactions import AMOUNT, CARD, HIGHEST, TERMINAL, write


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, days=2, scale=0.3)
    write(tmp_path / "c", days=2, scale=0.3, seed=8)
    texts = {name: (tmp_path / name / "transactions" / "2010-12-02.csv").read_text() for name in "abc"}
    assert texts["a"] == texts["b"] != texts["c"]


def test_the_truth_is_what_the_files_hold(tmp_path: Path) -> None:
    truth = write(tmp_path, days=6)
    assert truth.facts == json.loads(truth.path.read_text())
    frauds = truth.facts["frauds"]
    assert set(frauds.values()) == {AMOUNT, TERMINAL, CARD}
    files = sorted((tmp_path / "transactions").iterdir())
    assert len(files) == 6 == truth.files
    rows = 0
    for file in files:
        read = list(csv.DictReader(file.read_text().splitlines()))
        good = {row["TRANSACTION_ID"]: row for row in read if row["TX_AMOUNT"] != "plenty"}
        facts = truth.facts["by_day"][file.stem]
        assert (len(read), len(good)) == (facts["read"], facts["accepted"])
        assert sum(round(100 * float(row["TX_AMOUNT"])) for row in good.values()) == facts["cents"]
        assert {n for n, row in good.items() if row["TX_FRAUD"] == "1"} == frauds.keys() & good.keys()
        assert all(float(good[n]["TX_AMOUNT"]) > HIGHEST for n in good if frauds.get(n) == AMOUNT)
        rows += len(read)
    assert rows == truth.rows
    assert 0.005 < len(frauds) / rows < 0.1
