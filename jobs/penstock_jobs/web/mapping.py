"""Mappings from a source's columns to those of an event, written in YAML; three come with Penstock."""

from __future__ import annotations

from collections.abc import Mapping as Map
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penstock import ConfigurationError, F
from penstock_jobs.web import urls
from penstock_jobs.web.schema import SCALARS, STRUCTS, ddl, targets

if TYPE_CHECKING:
    from pyspark.sql import Column

_OURS = Path(__file__).with_name("mappings")
SOURCES = tuple(sorted(path.stem for path in _OURS.glob("*.yaml")))
"""The formats whose mappings come with Penstock."""

_LONGEST = 2000


class Parameters(BaseModel):
    """Values that stand in an array of key and value, as GA4's event parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = Field(description="The array: struct<key, value: struct<string_value, int_value, …>>.")
    columns: Map[str, str] = Field(description="Event column: the key of its parameter.")


class Mapping(BaseModel):
    """How the columns of a source become those of an event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: Map[str, str] = Field(description="Event column (or `struct.field`): a Spark SQL expression.")
    parameters: Parameters | None = None
    json_columns: tuple[str, ...] = Field(default=(), alias="json", description="Raw columns whose text must be JSON.")

    def expressions(self) -> dict[str, str]:
        """Event column: Spark SQL expression, parameters included."""
        found = dict(self.columns)
        if self.parameters:
            for target, key in self.parameters.columns.items():
                found[target] = _parameter(self.parameters.column, key)
        return found


def _parameter(column: str, key: str) -> str:
    value = f"get(filter({column}, p -> p.key = '{key}'), 0).value"
    return f"coalesce({value}.string_value, cast({value}.int_value AS string), cast({value}.double_value AS string))"


@lru_cache(maxsize=16)
def load(source: str) -> Mapping:
    """The mapping of a format by its name, or of a YAML file.

    Raises:
        ConfigurationError: There is no such mapping, or it is wrong.
    """
    path = _OURS / f"{source}.yaml" if source in SOURCES else Path(source)
    if not path.is_file():
        raise ConfigurationError(
            f"There is no mapping {source}.", hint=f"Give one of {', '.join(SOURCES)}, or the path of a YAML file."
        )
    try:
        mapping = Mapping.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigurationError(f"The mapping {path} cannot be understood: {error}") from error
    if unknown := sorted(mapping.expressions().keys() - targets()):
        raise ConfigurationError(
            f"The mapping {path} fills {', '.join(unknown)}, which no event has.",
            hint="docs/jobs/events.md lists the columns.",
        )
    if missing := sorted({"event_name", "event_ts"} - mapping.expressions().keys()):
        raise ConfigurationError(f"The mapping {path} fills no {' and no '.join(missing)}.")
    return mapping


def mapped(mapping: Mapping) -> dict[str, Column]:
    """Every column of an event, from the columns of the source; what the mapping does not fill is null.

    Parts of addresses and campaign tags that the source does not give are read from the page's address.
    """
    texts = mapping.expressions()
    given = {target: F.expr(text) for target, text in texts.items()}
    for struct in ("page", "referrer"):
        if f"{struct}.url" in given:
            for part, value in urls.parts(given[f"{struct}.url"]).items():
                own = given.get(f"{struct}.{part}")
                # A source that has a column for it may leave it empty.
                given[f"{struct}.{part}"] = value if own is None else F.coalesce(F.when(F.trim(own) != "", own), value)
    query = given.get("page.urlquery", F.lit(None).cast("string"))
    given.setdefault("marketing.source_platform", urls.argument(query, "utm_source_platform"))
    if "marketing.medium" not in texts:
        for field in ("medium", "source", "term", "content", "campaign"):
            given.setdefault(f"marketing.{field}", urls.argument(query, f"utm_{field}"))
        given.setdefault("marketing.clickid", urls.argument(query, "gclid"))
    result = {name: _typed(given.get(name), texts.get(name), kind) for name, kind in SCALARS.items()}
    for struct, fields in STRUCTS.items():
        inner = [
            _typed(given.get(f"{struct}.{name}"), texts.get(f"{struct}.{name}"), kind).alias(name)
            for name, kind in fields.items()
        ]
        result[struct] = F.struct(*inner).cast(ddl(struct))
    return result


def _typed(value: Column | None, text: str | None, kind: str) -> Column:
    if kind == "string" and value is not None:
        # A user agent of a megabyte says no more than its beginning.
        cut = F.substring(F.trim(value.cast("string")), 1, _LONGEST)
        return F.when(cut != "", cut)
    # What is no text comes from the mapping alone. As SQL, for before Spark 4.0 a column cannot be tried.
    return F.expr(f"try_cast(({text}) AS {kind})") if text else F.lit(None).cast(kind)
