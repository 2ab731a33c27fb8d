"""docs/your-own-job.md holds: its files are written and its commands run, in the order of the page."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable

from penstock.cli import main

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `pip install .` does for entry points, without a registry."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / "my_jobs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(folder)


def test_the_page_runs(
    spark: SparkSession,
    checkout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    said: dict[str, str] = {}
    last = ""
    for language, body in BLOCK.findall((checkout / "docs" / "your-own-job.md").read_text(encoding="utf-8")):
        first, _, rest = body.partition("\n")
        if language == "json":
            assert json.loads(body) == json.loads(said[last])["accounting"]["orders"]
        elif language != "console":
            path = tmp_path / first.removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rest, encoding="utf-8")
            if path.name == "pyproject.toml":
                install(tmp_path, monkeypatch)
        else:
            for command in re.findall(r"^\$ (.*)$", body, re.MULTILINE):
                monkeypatch.setattr(sys, "argv", shlex.split(command))
                capfd.readouterr()
                with pytest.raises(SystemExit) as ended:
                    main()
                captured = capfd.readouterr()
                assert not ended.value.code, f"$ {command}\n{captured.out}\n{captured.err}"
                said[command], last = captured.out, command

    out = [said[command] for command in said if " run " in command]
    assert "done already" in out[1], "the same run again"
    assert "succeeded" in out[2], "another parameter"
    assert "done already" in out[3], "by the name of its entry point"
    quarantined = next(text for command, text in said.items() if " quarantine " in command)
    assert "2010-12-01.csv:6" in quarantined
    assert "4,2010-12-01 11:00:00,redacted,ten" in quarantined, quarantined
    # The night runs with the parameters of the configuration, so that what --set has left out is back.
    rows = DeltaTable(tmp_path / "warehouse" / "shop" / "orders").to_pyarrow_table().to_pylist()
    assert sorted(row["order_id"] for row in rows) == [1, 2, 5]
    assert "shop_orders" in said["penstock jobs"]
