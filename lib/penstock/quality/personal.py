"""What a job's author needs to keep personal data out of a table: keyed pseudonyms, and masks."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigurationError
from penstock.lazy import F
from penstock.secrets import read_secret

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column

# NIST SP 800-107: a key of fewer bits than half the hash's weakens the whole.
_SHORTEST_KEY = 16
_SHORTEST, _WHOLE = 16, 64


def pseudonym(column: str | Column, key: str, *, length: int = _WHOLE) -> Column:
    """A pseudonym of each value: its HMAC-SHA256 (RFC 2104) under a secret key, in hexadecimal.

    The same value has the same pseudonym wherever the key is the same, so tables can still be joined; without the key
    nobody can tell by trial which value it was, as one can of a plain hash of a telephone number.

    The key is given by reference (`env:NAME`, `file:PATH` or `aws:SECRET-ID`, see `penstock.secrets.read_secret`) and
    read where the job is planned. It is neither in the configuration nor in a query plan: HMAC made of Spark's own
    functions would show it there, in `explain`, in Spark's pages and in its event log, as a literal. So this is a
    Python function, fed with Arrow batches where Spark can (4.1), that the key travels in to the workers.

    Args:
        column: The column; what is not text is taken as Spark writes it. Of null there is none.
        key: The reference.
        length: Leading characters of the pseudonym to keep, 16 to 64: each is four bits.

    Raises:
        ConfigurationError: There is no key at the reference, it is shorter than 16 bytes, or `length` is no length.
    """
    if not _SHORTEST <= length <= _WHOLE:
        raise ConfigurationError(
            f"A pseudonym of {length} characters cannot be made.", hint=f"Give a length from {_SHORTEST} to {_WHOLE}."
        )
    value = F.col(column) if isinstance(column, str) else column
    one = _of_text(_key(key), length)
    made: Column = _as_arrow(one)(value.cast("string")) if hasattr(F, "arrow_udf") else F.udf(one)(value.cast("string"))
    return made


def masked(column: str | Column, keep: int = 4) -> Column:
    """Each text with stars for all but its last characters, as `************1234`.

    A text of fewer than `2 * keep` characters is all stars: what is left of it would be most of it.

    Args:
        column: The column; what is not text is taken as Spark writes it.
        keep: How many characters stay.
    """
    value = (F.col(column) if isinstance(column, str) else column).cast("string")
    size = F.length(value)
    kept = F.when(size >= 2 * keep, F.lit(keep)).otherwise(F.lit(0))
    # By its name, for Spark 3.5's own function takes no column as the number.
    stars = F.call_function("repeat", F.lit("*"), size - kept)
    return F.concat(stars, F.substr(value, size - kept + 1, kept))


def masked_email(column: str | Column) -> Column:
    """Each address with its first letter and its domain, as `j***@example.com`; `***` for what is no address."""
    value = (F.col(column) if isinstance(column, str) else column).cast("string")
    found = F.regexp_extract(value, r"^([^@\s])[^@\s]*@([^@\s]+\.[^@\s]+)$", 1)
    domain = F.substring_index(value, "@", -1)
    masked_one = F.when(found != "", F.concat(found, F.lit("***@"), domain)).otherwise(F.lit("***"))
    return F.when(value.isNotNull(), masked_one)


def _key(reference: str) -> bytes:
    secret = read_secret(reference, "The key of a pseudonym")
    if len(secret) < _SHORTEST_KEY:
        raise ConfigurationError(
            f"The key at {reference} has {len(secret)} bytes; at least {_SHORTEST_KEY} are needed.",
            hint="Make one: openssl rand -hex 32",
        )
    return secret


def _of_text(secret: bytes, length: int) -> Callable[[str | None], str | None]:
    def pseudonym(text: str | None) -> str | None:
        return None if text is None else hmac.digest(secret, text.encode(), "sha256").hex()[:length]

    # Spark looks for kinds of functions in annotations, and wonders about these.
    pseudonym.__annotations__ = {}
    return pseudonym


def _as_arrow(one: Callable[[str | None], str | None]) -> Any:
    """The function on batches of values; it is asked once for each different value of a batch."""
    import pyarrow as pa

    def pseudonym(values: pa.Array) -> pa.Array:
        found = values.dictionary_encode()
        return pa.array([one(text) for text in found.dictionary.to_pylist()], pa.string()).take(found.indices)

    # Annotations are text in this module, and Spark takes the kind of the function from them.
    pseudonym.__annotations__ = {"values": pa.Array, "return": pa.Array}
    return F.arrow_udf(pseudonym, "string")  # type: ignore[attr-defined]  # Spark exports it without naming it
