"""What the author of a job needs; each name is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.errors import (
        AccountingError,
        ConfigurationError,
        ConflictError,
        EngineError,
        FencedError,
        InputMissingError,
        MalformedInputError,
        PenstockError,
        PermissionDeniedError,
        RefusedError,
        SchemaError,
        UsageError,
    )
    from penstock.interval import Interval
    from penstock.job import Input, Job, LookBack, Output, Params
    from penstock.lazy import F, Window
    from penstock.pictures import Picture, Results
    from penstock.quality.marks import drop_when, mark_duplicates
    from penstock.quality.personal import masked, masked_email, pseudonym
    from penstock.storage.kernel import Kernel, Mapped, Piece, Refused
    from penstock.storage.shares import Reader
    from penstock.storage.table_shares import TableReader

__version__ = "0.1.0"

__all__ = [
    "AccountingError",
    "ConfigurationError",
    "ConflictError",
    "EngineError",
    "F",
    "FencedError",
    "Input",
    "InputMissingError",
    "Interval",
    "Job",
    "Kernel",
    "LookBack",
    "MalformedInputError",
    "Mapped",
    "Output",
    "Params",
    "PenstockError",
    "PermissionDeniedError",
    "Picture",
    "Piece",
    "Reader",
    "Refused",
    "RefusedError",
    "Results",
    "SchemaError",
    "TableReader",
    "UsageError",
    "Window",
    "__version__",
    "drop_when",
    "mark_duplicates",
    "masked",
    "masked_email",
    "pseudonym",
]

_HOMES = {
    **dict.fromkeys(("Input", "Job", "LookBack", "Output", "Params"), "penstock.job"),
    **dict.fromkeys(("F", "Window"), "penstock.lazy"),
    **dict.fromkeys(("Picture", "Results"), "penstock.pictures"),
    **dict.fromkeys(("drop_when", "mark_duplicates"), "penstock.quality.marks"),
    **dict.fromkeys(("masked", "masked_email", "pseudonym"), "penstock.quality.personal"),
    "Interval": "penstock.interval",
    **dict.fromkeys(("Kernel", "Mapped", "Piece", "Refused"), "penstock.storage.kernel"),
    "Reader": "penstock.storage.shares",
    "TableReader": "penstock.storage.table_shares",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES.get(name, "penstock.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
