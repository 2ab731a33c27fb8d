"""How Spark writes and reads the names of files: its paths are globs on the way in and URIs on the way out."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, unquote

_GLOB = re.compile(r"([*?\[\]{}\\])")
# What java.net.URI leaves as it is in a path; beyond ASCII it writes blanks and control characters in hex.
_LEGAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-!.~'()*,;:$&+=@/")


def as_glob(path: str) -> str:
    r"""A path that Spark reads as itself, though it may hold characters that mean something in a glob.

    >>> as_glob("/in/a[1].csv")
    'file:/in/a\\[1\\].csv'
    """
    return _GLOB.sub(r"\\\1", as_spark(path))


def as_spark(path: str) -> str:
    """A path as Spark takes it: one without a scheme would be of HDFS where a cluster has it as its default.

    >>> as_spark("/in/a.csv"), as_spark("s3://lake/a.csv")
    ('file:/in/a.csv', 's3://lake/a.csv')
    """
    return f"file:{path}" if path.startswith("/") else path


def as_uris(path: str) -> tuple[str, ...]:
    """The forms in which `_metadata.file_path` may show a path: releases differ in the slashes and in S3's schemes.

    >>> as_uris("/in/a b%.csv")
    ('file:/in/a%20b%25.csv', 'file:///in/a%20b%25.csv')
    >>> as_uris("s3://lake/a b.csv")
    ('s3://lake/a%20b.csv', 's3a://lake/a%20b.csv')
    """
    scheme, found, rest = path.rpartition("://")
    encoded = "".join(c if c in _LEGAL or (ord(c) > 127 and not _is_blank(c)) else quote(c, safe="") for c in rest)
    if not found:
        return (f"file:{encoded}", f"file://{encoded}")
    schemes = ("s3", "s3a") if scheme in ("s3", "s3a", "s3n") else (scheme,)
    return tuple(f"{name}://{encoded}" for name in schemes)


def of_uri(uri: str) -> str:
    """The path that a URI names: a local one, or an S3 location.

    >>> of_uri("file:///in/a%20b%25.csv")
    '/in/a b%.csv'
    """
    return unquote(re.sub(r"^s3[an]://", "s3://", re.sub(r"^file:(?://)?(?=/)", "", uri)))


def _is_blank(char: str) -> bool:
    return unicodedata.category(char) in ("Zs", "Zl", "Zp", "Cc")
