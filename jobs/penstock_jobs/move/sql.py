"""One SQL file to one dataset; its parameters are arguments with types, never text that is pasted into it."""

from __future__ import annotations

import hashlib
import json
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from penstock import ConfigurationError, Input, Job, Output, Params
from penstock_jobs.columns import as_declared, named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class SqlParams(Params):
    """The query, what it reads, and where its rows go."""

    file: str = Field(description="A file with one SELECT; inputs are views by their names, arguments are `:name`.")
    inputs: str = Field(description="What it reads: `view=dataset`, with commas; `view=dataset@all` reads all of it.")
    target: str = Field(description="The dataset that is written.")
    arguments: str = Field(default="{}", description="The values of `:name` in the file, as a JSON object.")
    unit: Literal["hour", "day", "month", "all"] = Field(default="day", description="The interval of a run.")
    mode: Literal["replace_slice", "replace_all", "merge", "append_once"] = Field(
        default="replace_slice", description="What becomes of what is there; see docs/storage.md."
    )


def transform(query: str, arguments: dict[str, Any], frames: dict[str, DataFrame]) -> DataFrame:
    """The rows of a query over the frames, which it knows as views by their names.

    Args:
        query: One SELECT.
        arguments: The values of its `:name`, which Spark binds as literals.
        frames: By the names of the views.

    Raises:
        ConfigurationError: It is something else.
    """
    from pyspark.errors import ParseException

    session = next(iter(frames.values())).sparkSession
    for name, frame in frames.items():
        frame.createOrReplaceTempView(name)
    # As a part of another one it can only be a query: Spark would run anything else as soon as it is handed over.
    whole = f"SELECT * FROM ({query.rstrip().rstrip(';')}\n)"  # noqa: S608 - it is the user's own query
    try:
        return session.sql(whole, args=arguments)
    except ParseException as error:
        told = [line for line in str(error).splitlines() if line.strip()]
        raise ConfigurationError(
            f"The SQL file is no single query: {told[0]}",
            hint="One SELECT, with nothing behind its `;`.",
            evidence=told,
        ) from None


def _bound(params: SqlParams, config: Any) -> Job:
    target = config.dataset(params.target)
    query, arguments = _read(params.file), _arguments(params.arguments)
    views = _views(params.inputs)

    def selected(**frames: DataFrame) -> DataFrame:
        return as_declared(transform(query, arguments, frames), target)

    selected.__signature__ = Signature([Parameter(name, Parameter.KEYWORD_ONLY) for name in views])  # type: ignore[attr-defined]
    return Job(
        name=named("sql", params.target),
        description=f"{Path(params.file).name} to {params.target}.",
        transform=selected,
        inputs=views,
        outputs={"rows": Output(params.target, mode=params.mode)},
        unit=params.unit,
        batch=1,
        version=hashlib.sha256(query.encode()).hexdigest()[:8],
    )


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"The SQL file {file} cannot be read: {error.strerror}.") from error


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"arguments is no JSON: {error}.", hint='As in {"least": 5}.') from error
    if not isinstance(found, dict):
        raise ConfigurationError("arguments is no JSON object.", hint='As in {"least": 5}.')
    return found


def _views(text: str) -> dict[str, Input]:
    views: dict[str, Input] = {}
    for part in text.split(","):
        name, _, dataset = part.strip().partition("=")
        if not name.isidentifier() or not dataset:
            raise ConfigurationError(
                f"inputs: {part.strip()!r} is not of the form view=dataset.", hint="As in lines=retail.lines."
            )
        whole = dataset.endswith("@all")
        views[name] = Input(dataset.removesuffix("@all"), span="all" if whole else "interval")
    return views


job = Job(
    name="sql",
    description="One SQL file to one dataset, with typed arguments.",
    transform=transform,
    inputs={},
    outputs={},
    params=SqlParams,
    bind=_bound,
    batch=1,
)
