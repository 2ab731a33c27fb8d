"""Holds a request to the model of AWS's own API, as botocore ships it: unknown and missing fields, lengths, choices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any


@cache
def service_model(service: str) -> Any:
    """Botocore's model of a service."""
    import botocore.session

    return botocore.session.get_session().get_service_model(service)


def problems(service: str, operation: str, body: Mapping[str, Any]) -> list[str]:
    """What AWS would refuse of a request without looking at anything else; empty where nothing is."""
    shape = service_model(service).operation_model(operation).input_shape
    return shape_problems(shape, body)


def shape_problems(shape: Any, body: Mapping[str, Any]) -> list[str]:
    """The same for the shape of an input."""
    from botocore.validate import ParamValidator

    if shape is None:
        return [f"unknown field {name}" for name in body]
    report = ParamValidator().validate(dict(body), shape)
    found = [line for line in report.generate_report().splitlines() if line] if report.has_errors() else []
    return found + list(_beyond(shape, body, shape.name))


def _beyond(shape: Any, value: Any, at: str) -> Iterator[str]:
    """Botocore's validator knows no greatest lengths, choices and patterns, since AWS checks them."""
    yield from _itself(shape, value, at)
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        for name, child in value.items():
            if name in shape.members:
                yield from _beyond(shape.members[name], child, f"{at}.{name}")
    elif kind == "list" and isinstance(value, (list, tuple)):
        for number, child in enumerate(value):
            yield from _beyond(shape.member, child, f"{at}[{number}]")
    elif kind == "map" and isinstance(value, Mapping):
        for name, child in value.items():
            yield from _beyond(shape.value, child, f"{at}.{name}")


def _itself(shape: Any, value: Any, at: str) -> Iterator[str]:
    kind, most = shape.type_name, shape.metadata.get("max")
    if most is not None and isinstance(value, (list, tuple, Mapping, str)) and len(value) > most:
        yield f"{at} has a length of {len(value)}, and the greatest is {most}"
    if most is not None and kind in ("integer", "long", "float", "double") and value > most:
        yield f"{at} is {value}, and the greatest is {most}"
    if kind == "string" and isinstance(value, str):
        if getattr(shape, "enum", None) and value not in shape.enum:
            yield f"{at} is {value}, and must be one of {', '.join(shape.enum)}"
        pattern = shape.metadata.get("pattern")
        if pattern and not _fits(pattern, value):
            yield f"{at} is {value[:80]!r}, and must match {pattern}"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        # Java's classes such as \p{Graph}.
        return None


def _fits(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or "\\u" in pattern or compiled.fullmatch(value) is not None
