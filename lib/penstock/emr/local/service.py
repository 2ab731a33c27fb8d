"""What the three services of local EMR share: pages of lists, tags, errors that name what is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.emr.facts import IMAGES
from penstock.emr.local.engine import Engine
from penstock.emr.local.protocol import AwsError
from penstock.emr.local.state import Document, Kind

ACCOUNT = "123456789012"
Params = Mapping[str, Any]
Operation = Callable[[Params, str], dict[str, Any] | None]


class Service:
    """One API: its operations are the methods named as AWS names them; each gets the parameters and the region."""

    name: str

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.state = engine.state

    def operation(self, name: str) -> Operation:
        """The method for an operation.

        Raises:
            AwsError: Local EMR does not have it.
        """
        found = getattr(self, name, None)
        if found is None:
            raise AwsError(
                "UnsupportedOperationException",
                f"Local EMR has no {name}. What it has: {', '.join(self.operations())}.",
            )
        return found  # type: ignore[no-any-return]

    @classmethod
    def operations(cls) -> list[str]:
        """The operations that there are."""
        return sorted(name for name in dir(cls) if name[0].isupper())

    def recover(self) -> None:
        """After a restart: follow again what still runs, end what does not."""

    def _known(self, kind: Kind, id_: str, region: str, error: AwsError) -> Document:
        document = self.state.get(kind, id_)
        if document is None or document["region"] != region:
            raise error
        return document


def check_release(label: str) -> None:
    """Refuse a release that nobody knows, as AWS does."""
    if label not in IMAGES:
        raise AwsError("ValidationException", f"Invalid releaseLabel: {label}. Local EMR knows: {', '.join(IMAGES)}.")


def page(items: Sequence[dict[str, Any]], token: str | None, size: int) -> tuple[list[dict[str, Any]], str | None]:
    """A page of a list, and the token of the next."""
    start = int(token) if token and token.isdigit() else 0
    following = start + size
    return list(items[start:following]), str(following) if following < len(items) else None
