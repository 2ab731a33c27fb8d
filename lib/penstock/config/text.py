"""Values from text, as a command line and variables give them, by the type that they must have."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

_NULLS = ("null", "none", "")


def from_text(text: str, annotation: Any) -> Any:
    """What a text means where a value of some type is needed.

    Lists are written with commas or as JSON, mappings as JSON, booleans as true or false.

    >>> from_text("a, b", list[str]), from_text("[1, 2]", tuple[int, ...]), from_text("true", bool)
    (('a', 'b'), (1, 2), True)

    Returns:
        The value, or the text itself where pydantic is to read it (numbers, dates, choices).

    Raises:
        ValueError: The text cannot be of that type.
    """
    kinds = _kinds(annotation)
    if type(None) in kinds and text.lower() in _NULLS:
        return None
    if any(_is(kind, Mapping) or _is(kind, BaseModel) for kind in kinds) and text.lstrip().startswith("{"):
        return _json(text)
    if any(_is(kind, Sequence | AbstractSet) and not _is(kind, str | bytes) for kind in kinds):
        if text.lstrip().startswith("["):
            return tuple(_json(text))
        return tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    if bool in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if bool in kinds and kinds <= {bool, type(None)}:
        raise ValueError("input should be true or false")
    return text


def check_boolean(value: Any, annotation: Any) -> None:
    """Refuse what pydantic would take for a boolean and YAML 1.2 does not: `yes`, `on`, `1`.

    Raises:
        ValueError: The value is no boolean, and nothing else would do.
    """
    if _kinds(annotation) <= {bool, type(None)} and not isinstance(value, bool | None):
        raise ValueError("input should be true or false")


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation stands for, without Optional, Annotated and unions around them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return set().union(*(_kinds(option) for option in get_args(annotation)))
    return {origin or annotation}


def _is(kind: Any, of: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, of)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from error
