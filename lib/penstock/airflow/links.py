"""A button beside a task that leads to its run page."""

from __future__ import annotations

from typing import Any

import attrs
from airflow.sdk import BaseOperatorLink


@attrs.define()
class RunPageLink(BaseOperatorLink):
    """The run's page, or of a night the night's, as the operator has found it; Airflow keeps it with the task."""

    name: str = "Run page"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Where it leads; empty where there is no page."""
        return str(getattr(operator, "page", ""))


@attrs.define()
class LogsLink(BaseOperatorLink):
    """Where the logs of a run on EMR lie."""

    name: str = "Logs"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Where it leads; empty where there is no run."""
        return str(getattr(operator, "logs", ""))


@attrs.define()
class SparkLink(BaseOperatorLink):
    """Spark's own pages of a run on EMR."""

    name: str = "Spark UI"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Where it leads; empty where there is no run."""
        return str(getattr(operator, "spark", ""))
