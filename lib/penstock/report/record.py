"""The shape of run.json and night.json, and the one way in which they are written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

from penstock.files import write_atomically

State: TypeAlias = Literal["succeeded", "skipped", "failed", "fenced", "refused", "running", "pending"]
Moment: TypeAlias = datetime | str
"""A datetime when a document is made; ISO 8601 text when it comes back from a file."""


class InputDoc(TypedDict):
    """What was read of one input."""

    dataset: str
    rows: int | None
    fingerprint: str
    files: int


class OutputDoc(TypedDict):
    """What was published to one output, and what that replaced."""

    dataset: str
    format: str
    path: str
    mode: str
    rows: int
    replaced_rows: int | None
    files: int
    bytes: int
    version: int | None


class AccountingDoc(TypedDict):
    """Where every row of a row-preserving output went; `read` is the sum of the others."""

    read: int
    accepted: int
    quarantined: int
    dropped: dict[str, int]
    duplicates: int


class FileDoc(AccountingDoc):
    """Where the rows of one input file went."""

    file: str


class FilesDoc(TypedDict):
    """Where the rows of each input file went; `listed` are at most so many of them, first those that lost most."""

    files: int
    listed: list[FileDoc]


class BrokenRuleDoc(TypedDict):
    """One rule that one row broke."""

    rule: str
    column: str | None
    value: Any
    message: str


class ExampleDoc(TypedDict):
    """One quarantined row, and where to find it."""

    source_file: str
    line: int | None
    raw: str | None
    reasons: list[BrokenRuleDoc]


class QuarantineDoc(TypedDict):
    """The rejected rows of one output: how many by rule, and a few of them."""

    dataset: str
    path: str
    reasons: dict[str, int]
    examples: list[ExampleDoc]


class UnmetDoc(TypedDict, total=False):
    """One rule that was not met in one interval; numbers that it does not have are left out."""

    rule: str
    severity: str
    element_count: int
    missing_count: int
    unexpected_count: int
    observed: Any


class RunRulesDoc(TypedDict):
    """What the rules of one output came to in one interval.

    `each` holds, by rule, `[rows judged, rows not as expected]`, or what a rule on all rows together observed: a
    number, or None where that is none.
    """

    met: int
    of: int
    not_met: list[UnmetDoc]
    each: dict[str, list[int] | float | None]


class RuleDoc(TypedDict):
    """One rule of one output, with its counts over all slices of a batch; `observed` only where there is one."""

    rule: str
    expectation: str
    arguments: dict[str, Any]
    severity: str
    description: str
    success: bool
    slices: int
    met: int
    not_met_in: list[str | None]
    element_count: int | None
    missing_count: int | None
    unexpected_count: int | None
    observed: Any


class EarlierRulesDoc(TypedDict):
    """What an earlier run found: the rows of its outputs, its rules and metrics."""

    interval: str
    run_id: str
    state: State
    rows: dict[str, int]
    rules: dict[str, RunRulesDoc]
    metrics: dict[str, dict[str, float]]


class RunQualityDoc(TypedDict, total=False):
    """What is known about the quality of the rows of one interval, by output."""

    quarantine: dict[str, QuarantineDoc]
    rules: dict[str, RunRulesDoc]
    metrics: dict[str, dict[str, float]]


class QualityDoc(TypedDict, total=False):
    """What is known about the quality of a batch's rows, by output, and what up to 14 earlier runs knew."""

    quarantine: dict[str, QuarantineDoc]
    rules: dict[str, list[RuleDoc]]
    earlier: list[EarlierRulesDoc]


class PictureDoc(TypedDict, total=False):
    """One picture of the result; `file` is beside the record, and is missing where it could not be drawn."""

    title: str
    caption: str
    note: str
    rows: list[dict[str, Any]]
    file: str


class StepDoc(TypedDict):
    """How long one step of a run took."""

    name: str
    seconds: float


FailureDoc = TypedDict(
    "FailureDoc",
    {"class": str, "message": str, "place": str | None, "evidence": list[str], "next": str},
)
"""The failure card; functional syntax because `class` is a keyword."""


class EarlierDoc(TypedDict, total=False):
    """The timings of an earlier batch of the same job."""

    batch_id: str
    run_id: str
    started: Moment
    intervals: int
    seconds: float
    steps: list[StepDoc]


class RunDoc(TypedDict, total=False):
    """One job over one interval: what run.json holds, and what `penstock run --json` prints."""

    run_id: str
    run_key: str
    job: str
    interval: str
    state: State
    reason: str | None
    attempt: int
    epoch: int
    env: str
    params: dict[str, Any]
    code_version: str
    started: Moment
    ended: Moment | None
    seconds: float
    inputs: dict[str, InputDoc]
    outputs: dict[str, OutputDoc]
    accounting: dict[str, AccountingDoc]
    quality: RunQualityDoc
    steps: list[StepDoc]
    failure: FailureDoc | None
    page: str | None
    command: str


# `from` is a keyword, so the documents of ranges take the functional syntax as well.
BatchDoc = TypedDict(
    "BatchDoc",
    {
        "batch_id": str,
        "job": str,
        "from": str,
        "to": str,
        "state": State,
        "reason": str | None,
        "env": str,
        "params": dict[str, Any],
        "code_version": str,
        "intervals": int,
        "states": dict[str, int],
        "started": Moment,
        "ended": Moment | None,
        "seconds": float,
        "steps": list[StepDoc],
        "inputs": dict[str, InputDoc],
        "outputs": dict[str, OutputDoc],
        "accounting": dict[str, AccountingDoc],
        "by_file": dict[str, FilesDoc],
        "quality": QualityDoc,
        "pictures": list[PictureDoc],
        "failure": FailureDoc | None,
        "runs": list[RunDoc],
        "page": str | None,
        "command": str,
        "earlier": list[EarlierDoc],
    },
    total=False,
)
"""One call of `penstock run`: sums over all its intervals, and the runs themselves."""


class NightJobDoc(TypedDict, total=False):
    """One job of a nightly; `batch` is None where it was not started."""

    job: str
    state: State
    reason: str | None
    batch: BatchDoc | None
    depends_on: list[str]
    late: list[str]
    page: str | None


class NoticeDoc(TypedDict):
    """What one channel was told, as `JOB KIND`; `error` is None where it was delivered."""

    channel: str
    told: list[str]
    error: str | None


NightDoc = TypedDict(
    "NightDoc",
    {
        "night_id": str,
        "env": str,
        "from": str,
        "to": str,
        "started": Moment,
        "ended": Moment | None,
        "seconds": float,
        "state": State,
        "jobs": list[NightJobDoc],
        "notices": list[NoticeDoc],
        "page": str | None,
        "command": str,
    },
    total=False,
)
"""One nightly: its jobs in dependency order."""


def to_json(doc: Mapping[str, Any], *, indent: int | None = None) -> str:
    """The document as JSON: datetimes as ISO 8601, Decimals as text, numbers that JSON lacks as text.

    Raises:
        TypeError: The document holds a value of any other type (a secret, a model, a path).

    >>> to_json({"at": datetime(2010, 12, 1), "sum": Decimal("1.10"), "mean": float("nan")})
    '{"at": "2010-12-01T00:00:00", "sum": "1.10", "mean": "nan"}'
    """
    return json.dumps(_plain(doc), indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: Path | str, doc: Mapping[str, Any]) -> None:
    """Replace the file by the document at once: a reader sees the old text or the new, never a part."""
    # A lone surrogate (bytes of a broken file that went through as text) becomes \udcXX, which is JSON's own escape.
    write_atomically(Path(path), _lines(doc).encode("utf-8", "backslashreplace"))


def read_json(path: Path | str) -> dict[str, Any]:
    """A document that `write_json` wrote; datetimes and Decimals stay text."""
    doc = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(doc, dict):
        raise ValueError(f"{path} does not hold a JSON object.")  # noqa: TRY004 - the file is wrong, not the argument
    return doc


def _lines(doc: Mapping[str, Any]) -> str:
    """A document as text with a line for each key, and for each item of a list: one run of thousands after another."""
    members = []
    for key, value in doc.items():
        is_list = isinstance(value, (list, tuple)) and value
        text = "[\n  " + ",\n  ".join(map(_text, value)) + "\n ]" if is_list else _text(value)
        members.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(members) + "\n}\n"


def _text(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"A key of a run document must be text: {wrong[0]!r}.")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    raise TypeError(f"A run document does not hold values of type {type(value).__name__}.")
