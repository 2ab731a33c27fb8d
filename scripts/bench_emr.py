"""How long a person waits for local EMR: from `penstock submit` to Spark's first words, against a bare spark-submit.

Both run the same program on the same day with the same Spark: the bare one as a person would call it, ours packaged,
uploaded, submitted, fetched, unpacked and followed. What counts is when the first line of Spark's log can be read.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What Spark itself says, with its time; the JVM's own warnings come before it.
_SPARK = re.compile(rb"\d\d:\d\d:\d\d,?\d* (INFO|WARN|ERROR) ")
_DAY = "2010-12-01"
MOST = 3.0
PENSTOCK = str(Path(sys.executable).with_name("penstock"))
MACHINE = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"


def configuration(folder: Path, endpoint: str = "http://127.0.0.1:9") -> Path:
    """A layer of configuration whose places are of local EMR."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "environment.yaml").write_text(
        f"data: {folder}/data\nwarehouse: {folder}/tables\n"
        "emr:\n  artefacts: s3://penstock/code\n  logs: s3://penstock/logs\n  region: us-east-1\n"
        f"  role: arn:aws:iam::123456789012:role/runs\n  architecture: {MACHINE}\n  endpoint_url: {endpoint}\n"
        "spark: {conf: {spark.log.level: INFO}}\n",
        encoding="utf-8",
    )
    return folder


def package(folder: Path) -> list[str]:
    """The artefact of EMR Serverless, whose dependencies are in the cache from the first turn on."""
    where = ["--env=emr-serverless", f"--conf={configuration(folder / 'conf')}"]
    return [PENSTOCK, "package", *where, f"--artefact={folder / 'artefact'}", "--json"]


def preflight(folder: Path) -> list[str]:
    """All checks of an artefact that is there."""
    where = ["--env=emr-serverless", f"--conf={configuration(folder / 'conf')}"]
    return [PENSTOCK, "preflight", *where, f"--artefact={folder / 'artefact'}", "--json"]


def packaged(folder: Path) -> None:
    """The artefact that is to be checked."""
    subprocess.run(package(folder), check=True, stdout=subprocess.DEVNULL)


def measure(scratch: Path, runs: int = 3) -> dict[str, Any]:
    """Seconds to Spark's first line, in turn; the first turn of each warms caches and does not count."""
    from penstock.emr.local.stand import stand
    from penstock.jars import fetch_jars, spark_home
    from penstock.java import find_java

    data = scratch / "data"
    subprocess.run([PENSTOCK, "sample", str(data), "--days", "1"], check=True, stdout=subprocess.DEVNULL)
    entry = Path(__file__).resolve().parents[1] / "lib" / "penstock" / "cli" / "entry.py"
    jars = ",".join(map(str, fetch_jars()))
    spark = [str(spark_home() / "bin" / "spark-submit"), "--master", "local[2]", "--jars", jars]
    java = {"JAVA_HOME": str(find_java().home), "PYSPARK_PYTHON": sys.executable}
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    ours, bare = list[float](), list[float]()
    with stand(scratch / "emr", slots=1) as app:
        conf = configuration(scratch / "conf", app.options.endpoint)
        for turn in range(runs + 1):
            out = scratch / f"out-{turn}"
            where = ["--env=emr-serverless", f"--conf={conf}", f"--data={data}"]
            job = ["retail_lines", f"--interval={_DAY}", *where]
            submit = [PENSTOCK, "submit", *job, f"--warehouse={out / 'ours'}"]
            run = [*spark, str(entry), "run", *job, f"--warehouse={out / 'bare'}"]
            bare.append(_first_line(run, {**os.environ, **java}, scratch))
            ours.append(_first_line(submit, {**os.environ, **keys}, scratch))
    middle, other = statistics.median(ours[1:]), statistics.median(bare[1:])
    return {
        "bench": "emr_submit",
        "ours_s": round(middle, 3),
        "opponent_s": round(other, 3),
        "ratio": round(other / middle, 2),
        "runs": runs,
        "rows": 0,
        "more_than_bare_s": round(middle - other, 3),
        "at_most_s": MOST,
        "ours_all_s": [round(x, 3) for x in ours[1:]],
        "opponent_all_s": [round(x, 3) for x in bare[1:]],
    }


def _first_line(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> float:
    """Seconds until Spark's first line appears; the command is then left to come to its end."""
    began, seen, said = time.perf_counter(), None, list[bytes]()
    with subprocess.Popen(
        command, env=dict(environ), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if seen is None and _SPARK.search(line):
                seen = time.perf_counter() - began
    if process.returncode or seen is None:
        sys.stderr.write(b"".join(said[-40:]).decode(errors="replace"))
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return seen
