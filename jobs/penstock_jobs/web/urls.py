"""Parts of an address, by the expression of RFC 3986, appendix B: an address that is none gives nulls, not an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import F

if TYPE_CHECKING:
    from pyspark.sql import Column

_RFC3986 = r"^(?:([^:/?#\s]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?"


def parts(url: Column) -> dict[str, Column]:
    """urlscheme, urlhost (without user and port, in small letters), urlpath, urlquery, urlfragment; null where none."""
    return {
        "urlscheme": _group(url, 1),
        "urlhost": host(url),
        "urlpath": _group(url, 3),
        "urlquery": _group(url, 4),
        "urlfragment": _group(url, 5),
    }


def host(url: Column) -> Column:
    """The host's name in small letters, or null."""
    authority = _group(url, 2)
    named = F.regexp_extract(F.lower(authority), r"^(?:[^@]*@)?(\[[^\]]*\]|[^:]*)", 1)
    return F.when(named != "", named)


def argument(query: Column, name: str) -> Column:
    """The first value of an argument of a query, or null; not decoded."""
    value = F.regexp_extract(query, rf"(?:^|[?&]){name}=([^&#]*)", 1)
    return F.when(value != "", value)


def _group(url: Column, number: int) -> Column:
    found = F.regexp_extract(url, _RFC3986, number)
    return F.when(found != "", found)
