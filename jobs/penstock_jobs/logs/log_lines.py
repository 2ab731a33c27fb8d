"""Log files of any known form to one table of lines, by a kernel that reads and writes in Python workers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from penstock import Input, Job, Output, Params
from penstock.interval import zone

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock import Kernel


class LogLinesParams(Params):
    """What cannot be told from the lines; the form of a file is, where nothing is said of it."""

    formats: Mapping[str, str] = Field(
        default={},
        description='The format of files by a glob on path or name: {"*.err": apache.error}; others are detected.',
    )
    patterns: Mapping[str, str] = Field(
        default={},
        description="Formats of your own by name: a regular expression whose named groups are columns of logs.lines, "
        "`time` for the moment, and anything else for a label.",
    )
    timezone: str = Field(default="UTC", description="The zone of moments that name none.")

    @field_validator("patterns")
    @classmethod
    def _compile(cls, patterns: Mapping[str, str]) -> Mapping[str, str]:
        for name, pattern in patterns.items():
            try:
                found = re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{name} is no regular expression: {error}") from error
            if not found.groupindex:
                raise ValueError(f"{name} has no named group (?P<message>…), so nothing would come of it")
        return patterns

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        zone(name)
        return name


def transform(raw: DataFrame, params: LogLinesParams) -> Kernel:
    """Every line becomes a row, is part of one, is refused with the reason, or is dropped (blank lines, headers)."""
    from penstock import Kernel
    from penstock_jobs.logs.detect import Choice
    from penstock_jobs.logs.parse import parse

    choice = Choice(params.timezone, dict(params.formats), dict(params.patterns))
    for name in params.formats.values():
        choice.named(name)
    return Kernel(raw, partial(parse, choice))


job = Job(
    name="log_lines",
    description="Raw log files of any known form, detected or declared, to lines with fields.",
    transform=transform,
    inputs={"raw": Input("logs.raw", shares=True)},
    outputs={"lines": Output("logs.lines", rows_of="raw")},
    params=LogLinesParams,
)
