"""Run as a process of its own by test_s3.py: the retail jobs over each format, at each place that it is given."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from penstock import registry
from penstock.batches import Sessions, run_all
from penstock.config import load
from penstock.spec import asked_intervals, resolve

JOBS = ("retail_lines", "retail_daily_sales")


def main(places: list[dict[str, str]]) -> None:
    """Run them over two days at each place, the first again; what they answered, as JSON."""
    told = []
    configs = [load(conf=[Path(one["conf"])], data=one["data"], warehouse=one["warehouse"]) for one in places]
    # A session is made for the first: where one needs S3, it comes first.
    with Sessions(configs[0], "test s3") as sessions:
        for config in configs:
            documents = []
            for name in (*JOBS, JOBS[0]):
                job = registry.job(name)
                asked = asked_intervals(job, "UTC", interval=None, first="2010-12-01", last="2010-12-02")
                spec = resolve(job, asked, config, {})
                documents.append(run_all(spec, config, sessions, force=len(documents) == len(JOBS)))
            told.append([(one["state"], one["failure"] and one["failure"]["message"]) for one in documents])
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
