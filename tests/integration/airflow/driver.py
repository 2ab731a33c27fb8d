"""Runs DAGs in Airflow's own Python for the tests here, and writes what came of them to a file.

Its one argument is JSON: `file` (the DAG file), `runs` (`dag`, `conf`, `at`), `out` (where the answer goes).
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any


def main() -> None:
    """Run them all."""
    asked = json.loads(sys.argv[1])
    spec = spec_from_file_location("dags_under_test", asked["file"])
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    dags = {dag.dag_id: dag for dag in vars(module).values() if type(dag).__name__ == "DAG"}
    answer: dict[str, Any] = {
        "modules": [name for name in ("pyspark", "pyarrow", "deltalake", "pandas") if name in sys.modules],
        "dags": {name: shape(dag) for name, dag in dags.items()},
        "runs": [],
    }
    for run in asked["runs"]:
        answer["runs"].append(carried_out(dags[run["dag"]], run))
        with open(asked["out"], "w", encoding="utf-8") as file:
            json.dump(answer, file)
    with open(asked["out"], "w", encoding="utf-8") as file:
        json.dump(answer, file)


def shape(dag: Any) -> dict[str, Any]:
    """What was declared of each task."""
    return {
        task.task_id: {
            "upstream": sorted(task.upstream_task_ids),
            "pool": task.pool,
            "retries": task.retries,
            "limit": task.execution_timeout.total_seconds() if task.execution_timeout else None,
            "outlets": [asset.name for asset in task.outlets],
        }
        for task in dag.tasks
    }


def carried_out(dag: Any, run: dict[str, Any]) -> dict[str, Any]:
    """What came of one DAG run."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    at = datetime.fromisoformat(run["at"]).replace(tzinfo=UTC) if run.get("at") else datetime.now(UTC)
    # Of one date, a run has the same name each time.
    done = dag.test(logical_date=at, run_after=at if run.get("at") else None, run_conf=run.get("conf"))
    tasks: dict[str, Any] = {}
    with create_session() as session:
        for task in done.get_task_instances(session=session):
            tasks.setdefault(task.task_id, []).append(str(task.state))
        pushed = session.scalars(
            select(XComModel).where(XComModel.run_id == done.run_id, XComModel.dag_id == dag.dag_id)
        )
        xcoms = {f"{one.task_id} {one.key}": XComModel.deserialize_value(one) for one in pushed}
        found = session.execute(
            select(AssetModel.name, AssetEvent.extra)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetEvent.source_run_id == done.run_id, AssetEvent.source_dag_id == dag.dag_id)
        )
        events = [[name, extra] for name, extra in found]
    return {"state": str(done.state), "tasks": tasks, "xcoms": xcoms, "events": events}


if __name__ == "__main__":
    main()
