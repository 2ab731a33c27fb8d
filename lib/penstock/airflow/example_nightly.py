"""A DAG file to start from: copy it to the folder of your DAGs, and set its variables or the places in it."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from penstock.airflow import Site, backfill_dag, late_dag, nightly_dag

conf = os.environ.get("PENSTOCK_CONF")
site = Site(
    executable=os.environ.get("PENSTOCK_EXECUTABLE", ""),
    env=os.environ.get("PENSTOCK_ENV", "local"),
    conf=(conf,) if conf else (),
    data=os.environ.get("PENSTOCK_DATA"),
    warehouse=os.environ.get("PENSTOCK_WAREHOUSE"),
    artefact=os.environ.get("PENSTOCK_ARTEFACT"),
    aws_conn_id=os.environ.get("PENSTOCK_AWS_CONN_ID"),
)

nightly = nightly_dag(site=site, start_date=datetime(2026, 1, 1, tzinfo=UTC))
backfill = backfill_dag(site=site)
late = late_dag(site=site, start_date=datetime(2026, 1, 1, tzinfo=UTC))
