"""What all models of the configuration have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from penstock.secrets import is_reference

UNSHOWN = "unshown"
"""The type of findings whose value is not shown: it may be the secret itself, written down by mistake."""


class Model(BaseModel):
    """The base: frozen, no unknown keys, and no guessing of types (`yes` is a string, never a boolean)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


def _a_reference(text: str) -> str:
    if not is_reference(text):
        raise PydanticCustomError(UNSHOWN, "a secret is given by reference: env:NAME, file:PATH or aws:SECRET-ID")
    return text


Reference = Annotated[str, AfterValidator(_a_reference)]
