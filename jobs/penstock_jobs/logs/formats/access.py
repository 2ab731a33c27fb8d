"""Access logs of Apache and nginx: common, combined, with the virtual host before and anything behind."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from penstock_jobs.logs.formats.base import Format, Values, by_pattern, nanoseconds, split_request
from penstock_jobs.logs.times import clf

PATTERN = (
    r"(?:(?P<url_domain>[\w.-]+(?::\d+)?) (?=[^\s\"]*[.:]))?"
    r"(?P<source_address>\S+) (?P<ident>\S+) (?P<user_name>[^\[\"]*?) \[(?P<time>[^\]]+)\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<http_response_status_code>\d{3}) (?P<http_response_body_bytes>\d+|-)'
    r'(?: "(?P<http_request_referrer>(?:[^"\\]|\\.)*)" "(?P<user_agent_original>(?:[^"\\]|\\.)*)"'
    r"(?P<rest>(?: \S.*)?))?"
)
_DURATION = re.compile(r" (\d+\.\d{3})\b")


def _finish(columns: dict[str, Values]) -> None:
    split_request(columns)
    columns["url_domain"] = [host.rpartition(":")[0] or host if host else None for host in columns["url_domain"]]
    # What nginx's $request_time adds: seconds with three digits. Anything else behind the agent is kept as it is.
    rest = columns.pop("rest")
    found = [_DURATION.fullmatch(text) if text else None for text in rest]
    columns["event_duration"] = nanoseconds([match[1] if match else None for match in found], 1)
    columns["rest"] = [None if match or not text else text.strip() for text, match in zip(rest, found, strict=True)]


FORMAT: Format = by_pattern(
    "apache.access",
    "Apache and nginx access log: common, combined, vhost_combined",
    '192.0.2.7 - ann [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326 "https://example.org/" "Mozilla/5.0"',
    PATTERN,
    time=clf,
    finish=_finish,
)

_TEXTS = pa.dictionary(pa.int32(), pa.string())
_COLUMNS = {
    "source_address": pa.string(),
    "ident": _TEXTS,
    "user_name": _TEXTS,
    "time": _TEXTS,
    "zone": _TEXTS,
    "request": _TEXTS,
    "status": _TEXTS,
    "bytes": pa.string(),
    "referrer": _TEXTS,
    "agent": _TEXTS,
}
# Nine blanks and six quotes: what stands between the values of a combined line.
_BETWEEN = 9 + 6


def combined(data: bytes, lines: pa.Array, tz: str) -> tuple[dict[str, pa.Array], np.ndarray[Any, Any]] | None:
    """The plain combined lines of a block, cut by Arrow's CSV reader.

    The reader is quick and knows nothing of access logs. So a row is taken only if its values and what must stand
    between them make up its line to the byte, and it has the shape that `PATTERN` asks for; the others are left to
    `PATTERN`.

    Args:
        data: The block.
        lines: Its lines.
        tz: For moments without a zone.

    Returns:
        The columns of the lines taken and their numbers; None where the reader saw other lines than there are.
    """
    skipped: list[int] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        skipped.append(row.number - 1)
        return "skip"

    try:
        table = pa_csv.read_csv(
            io.BytesIO(data),
            pa_csv.ReadOptions(use_threads=False, column_names=list(_COLUMNS), block_size=1 << 20),
            pa_csv.ParseOptions(delimiter=" ", double_quote=False, ignore_empty_lines=False, invalid_row_handler=skip),
            pa_csv.ConvertOptions(column_types=_COLUMNS, strings_can_be_null=False, check_utf8=False),
        )
    except pa.ArrowInvalid:
        return None
    numbers = np.delete(np.arange(len(lines)), skipped)
    if table.num_rows != len(numbers) or table.num_rows == 0:
        return None
    values = {name: column.combine_chunks() for name, column in zip(_COLUMNS, table.columns, strict=True)}
    taken = lines if len(numbers) == len(lines) else lines.take(numbers)
    stamps, moment = _moments(values["time"], values["zone"], tz)
    request = _split(values["request"])
    good = _is_whole(values, taken) & stamps & request["good"]
    if not good.all():
        numbers = numbers[good]
        mask = pa.array(good)
        values = {name: value.filter(mask) for name, value in values.items()}
        request = {name: value.filter(mask) for name, value in request.items() if name != "good"}
        moment = moment.filter(mask)
    columns = {
        "timestamp": moment,
        "source_address": values["source_address"],
        "user_name": _without_dash(values["user_name"]),
        "http_request_method": request["method"],
        "url_original": request["url"],
        "http_version": request["version"],
        "http_response_status_code": _numbers(values["status"], pa.int32()),
        "http_response_body_bytes": _sizes(values["bytes"]),
        "http_request_referrer": _without_dash(values["referrer"]),
        "user_agent_original": _without_dash(values["agent"]),
        "ident": _without_dash(values["ident"]),
    }
    return columns, numbers


def _per_row(column: pa.DictionaryArray, of_values: pa.Array) -> pa.Array:
    """What was found for the distinct values, for each row."""
    return of_values.take(column.indices)


def _is_whole(values: dict[str, pa.Array], lines: pa.Array) -> np.ndarray[Any, Any]:
    """Whether values and separators make up the line, status and size are numbers, the time is in brackets."""
    size = np.full(len(lines), _BETWEEN)
    for column in values.values():
        lengths = (
            _per_row(column, pc.binary_length(column.dictionary))
            if pa.types.is_dictionary(column.type)
            else pc.binary_length(column)
        )
        size += lengths.to_numpy(zero_copy_only=False)
    whole: np.ndarray[Any, Any] = size == pc.binary_length(lines).to_numpy(zero_copy_only=False)
    status = pc.match_substring_regex(values["status"].dictionary, r"^\d{3}$")
    whole &= _per_row(values["status"], status).to_numpy(zero_copy_only=False)
    whole &= pc.match_substring_regex(values["bytes"], r"^(\d{1,18}|-)$").to_numpy(zero_copy_only=False)
    # A quote that the reader kept, or a backslash before one that it dropped, is for the pattern to judge.
    for name in ("source_address", "ident", "user_name", "request", "referrer", "agent"):
        column = values[name]
        is_dictionary = pa.types.is_dictionary(column.type)
        odd = pc.match_substring_regex(column.dictionary if is_dictionary else column, r'["\\\[]|^$')
        if name in ("request", "referrer", "agent"):
            odd = pc.match_substring_regex(column.dictionary, r'["\\]|^$')
        if pc.any(odd).as_py():
            odd = _per_row(column, odd) if is_dictionary else odd
            whole &= ~odd.to_numpy(zero_copy_only=False)
    return whole


def _moments(time: pa.DictionaryArray, zone: pa.DictionaryArray, tz: str) -> tuple[np.ndarray[Any, Any], pa.Array]:
    """Which rows have a moment in brackets, and the moments."""
    zones = zone.dictionary.to_pylist()
    result = np.full(len(time), np.iinfo(np.int64).min)
    rows = zone.indices.to_numpy()
    index = time.indices.to_numpy()
    texts = time.dictionary.to_pylist()
    for number, offset in enumerate(zones):
        if not offset.endswith("]"):
            continue
        found = [clf(f"{text[1:]} {offset[:-1]}", tz) if text.startswith("[") else None for text in texts]
        micros = np.array([np.iinfo(np.int64).min if at is None else at for at in found], np.int64)
        here = rows == number
        result[here] = micros[index[here]]
    good = result != np.iinfo(np.int64).min
    return good, pa.array(result, pa.int64(), mask=~good).cast(pa.timestamp("us", "UTC"))


def _split(request: pa.DictionaryArray) -> dict[str, Any]:
    """Method, URL and version of each row; `good` where it has all three."""
    found = pc.extract_regex(request.dictionary, r"^(?P<method>[A-Za-z]+) (?P<url>\S+) HTTP/(?P<version>\d(?:\.\d)?)$")
    good = _per_row(request, found.is_valid()).to_numpy(zero_copy_only=False)
    parts = {name: _encoded(found.field(at), request) for at, name in enumerate(("method", "url", "version"))}
    return {"good": good, **parts}


def _encoded(of_values: pa.Array, column: pa.DictionaryArray) -> pa.DictionaryArray:
    """A part of the distinct values as a dictionary of its own, for each row."""
    distinct = of_values.dictionary_encode()
    return pa.DictionaryArray.from_arrays(distinct.indices.take(column.indices), distinct.dictionary)


def _without_dash(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """Null where the value is `-`."""
    values = column.dictionary
    dash = pc.index(values, "-").as_py()
    if dash < 0:
        return column
    indices = column.indices
    return pa.DictionaryArray.from_arrays(
        pc.if_else(pc.equal(indices, dash), pa.scalar(None, pa.int32()), indices), values
    )


def _numbers(column: pa.DictionaryArray, kind: pa.DataType) -> pa.Array:
    texts = pa.array([text if text.isdigit() else None for text in column.dictionary.to_pylist()], pa.string())
    return _per_row(column, texts.cast(kind))


def _sizes(column: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(column, "-"), pa.scalar(None, pa.string()), column).cast(pa.int64())
