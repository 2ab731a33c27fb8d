"""The nightly in Airflow: a DAG from the declarations, backfills, late data; each name is imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.airflow.backfill import backfill_dag
    from penstock.airflow.late import late_dag
    from penstock.airflow.nights import nightly_dag
    from penstock.airflow.on_emr import PenstockEmrJobOperator, PenstockEmrNightOperator
    from penstock.airflow.operators import PenstockJobOperator, PenstockNightOperator
    from penstock.airflow.site import Site

__all__ = [
    "PenstockEmrJobOperator",
    "PenstockEmrNightOperator",
    "PenstockJobOperator",
    "PenstockNightOperator",
    "Site",
    "backfill_dag",
    "late_dag",
    "nightly_dag",
]

_HOMES = {
    **dict.fromkeys(("PenstockJobOperator", "PenstockNightOperator"), "operators"),
    **dict.fromkeys(("PenstockEmrJobOperator", "PenstockEmrNightOperator"), "on_emr"),
    "Site": "site",
    "backfill_dag": "backfill",
    "late_dag": "late",
    "nightly_dag": "nights",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
