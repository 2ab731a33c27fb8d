"""Turns a tree of nodes into a model, and what pydantic finds wrong into errors that name file, line and legal keys."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from penstock.config.base import UNSHOWN
from penstock.config.yaml import Node
from penstock.errors import ConfigurationError, did_you_mean

M = TypeVar("M", bound=BaseModel)
Path = tuple[int | str, ...]


def build(model: type[M], node: Node, what: str = "", **given: Any) -> M:
    """The model of a mapping.

    Args:
        model: What it must be.
        node: What was written.
        what: What the error calls it before the key, as `retail.raw: `.
        given: Values that are not written there (a dataset's name).

    Raises:
        ConfigurationError: Something does not fit; the message has the first place, the evidence all of them.
    """
    if not isinstance(node.value, dict):
        raise ConfigurationError(f"{node.origin}: {what or 'this '}must be a mapping of keys to values.")
    for key in given:
        if key in node.value:
            legal = legal_keys(model, ()) - set(given)
            place = node.value[key].origin
            raise ConfigurationError(f"{place}: {what}{key} is not a known key. {did_you_mean(key, legal)}")
    try:
        return model.model_validate({**node.plain(), **given})
    except ValidationError as error:
        raise located(error, model, node, what, hidden=set(given)) from error


def located(
    error: ValidationError, model: type[BaseModel], node: Node, what: str = "", hidden: AbstractSet[str] = frozenset()
) -> ConfigurationError:
    """The same findings, with where they were written; `hidden` are fields that nobody writes."""
    # A misspelt key is one finding as unknown and another as missing: the first of the two explains both.
    findings = sorted(error.errors(include_url=False), key=lambda found: found["type"] == "missing")
    lines = list(dict.fromkeys(_line(found, model, node, what, hidden) for found in findings))
    more = f" There {'is 1 more' if len(lines) == 2 else f'are {len(lines) - 1} more'}." if len(lines) > 1 else ""
    return ConfigurationError(lines[0] + more, evidence=lines if len(lines) > 1 else ())


def _line(finding: ErrorDetails, model: type[BaseModel], node: Node, what: str, hidden: AbstractSet[str]) -> str:
    path: Path = finding["loc"]
    key = ".".join(str(step) for step in path)
    place = node.nearest_to(path).origin
    if finding["type"] == "extra_forbidden":
        legal = legal_keys(model, path[:-1]) - (hidden if len(path) == 1 else frozenset())
        return f"{place}: {what}{key} is not a known key. {did_you_mean(str(path[-1]), legal)}"
    if finding["type"] == "missing":
        return f"{place}: {what}{key} is needed and not there."
    message = finding["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ").removesuffix(".")
    value = finding["input"]
    told = f" (it is {value!r})" if isinstance(value, str | int | float) and finding["type"] != UNSHOWN else ""
    return f"{place}: {what}{key + ': ' if key else ''}{message[:1].lower()}{message[1:]}{told}."


def legal_keys(model: type[BaseModel], path: Path) -> set[str]:
    """The keys that are known at a path below a model."""
    at = _model_in(annotation_at(model, path))
    return set(at.model_fields) if at is not None else set()


def annotation_at(model: type[BaseModel], path: Path) -> Any:
    """The type that a path below a model has; None where there is no such path."""
    at: Any = model
    for step in path:
        at = _inside(at, step)
    return at


def _inside(annotation: Any, step: int | str) -> Any:
    model = _model_in(annotation)
    if model is not None:
        field = model.model_fields.get(str(step))
        return field.annotation if field else None
    for option in (annotation, *get_args(annotation)):
        origin = get_origin(option)
        if isinstance(step, int) and origin in (tuple, list):
            return get_args(option)[0]
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return get_args(option)[1]
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None
