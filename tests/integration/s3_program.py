"""Run as a process of its own by test_s3.py: the retail jobs over each format, on the warehouse that it is given."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from penstock import registry
from penstock.batches import Sessions, run_all
from penstock.config import load
from penstock.spec import asked_intervals, resolve

JOBS = ("retail_lines", "retail_daily_sales")


def main(conf: str, data: str, warehouse: str, formats: list[str]) -> None:
    """Run them over two days, twice; what they answered, as JSON."""
    told = {}
    first = load(conf=[Path(conf, formats[0])], data=data, warehouse=f"{warehouse}/{formats[0]}")
    with Sessions(first, "test s3") as sessions:
        for kind in formats:
            config = load(conf=[Path(conf, kind)], data=data, warehouse=f"{warehouse}/{kind}")
            documents = []
            for name in (*JOBS, "retail_lines"):
                job = registry.job(name)
                asked = asked_intervals(job, "UTC", interval=None, first="2010-12-01", last="2010-12-02")
                spec = resolve(job, asked, config, {})
                documents.append(run_all(spec, config, sessions, force=len(documents) == len(JOBS)))
            told[kind] = [
                {
                    "state": document["state"],
                    "failure": document["failure"] and document["failure"]["message"],
                    "accounting": document["accounting"],
                    "page": document["page"],
                }
                for document in documents
            ]
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
