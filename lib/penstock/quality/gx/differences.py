"""Where our verdicts and those of Great Expectations differ on purpose, and why: one table, for tests and pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_ORDERED = ("expect_column_values_to_be_increasing", "expect_column_values_to_be_decreasing")
_DISTINCT = tuple(f"expect_column_distinct_values_to_{rest}" for rest in ("be_in_set", "contain_set", "equal_set"))
_TYPES = ("expect_column_values_to_be_of_type", "expect_column_type_to_be", "expect_column_values_to_be_in_type_list")
_DIVERGENCE = ("expect_column_kl_divergence_to_be_less_than",)
COUNTS = ("element_count", "missing_count", "unexpected_count")
RAISED = "exception"


@dataclass(frozen=True)
class Difference:
    """One way in which the two differ.

    Attributes:
        what: What differs.
        reason: Why ours is as it is.
        kinds: The expectations that it is about; none: all.
        fields: The parts of a result in which it shows; none: in none that both have.
        theirs: Great Expectations' value where it shows; `...`: any.
        ours: Ours.
        of_types: The types of the column; none: any.
    """

    what: str
    reason: str
    kinds: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    theirs: Any = ...
    ours: Any = ...
    of_types: tuple[str, ...] = ()

    def covers(self, kind: str, field: str, theirs: Any, ours: Any, ddl: str | None) -> bool:
        """Whether a difference that was seen is this one."""
        return (
            field in self.fields
            and (not self.kinds or kind in self.kinds)
            and (self.theirs is ... or theirs == self.theirs)
            and (self.ours is ... or ours == self.ours)
            and (not self.of_types or ddl in self.of_types)
        )


DIFFERENCES = (
    Difference(
        "Of no rows Great Expectations gives no unexpected count.",
        "Ours is 0: nothing was judged, and nothing was wrong. The rule is met with both.",
        fields=("unexpected_count",),
        theirs=None,
        ours=0,
    ),
    Difference(
        "Increasing and decreasing dates and times across a null.",
        "Great Expectations compares a date with the row directly before it, so that a fall across a null goes unseen "
        "(for numbers it leaves nulls out). Ours holds every value to the last one that is there, whatever its type.",
        kinds=_ORDERED,
        fields=("success", "unexpected_count", "unexpected_percent"),
        of_types=("date", "timestamp", "timestamp_ntz"),
    ),
    Difference(
        "The order of rows for increasing and decreasing values.",
        "Great Expectations takes rows as they come, which on Spark is no order. Ours wants `order_by`.",
        kinds=_ORDERED,
    ),
    Difference(
        "Counts of sets of different values.",
        "Great Expectations counts values there, not rows, as unexpected or missing. Ours gives the values.",
        kinds=_DISTINCT,
        fields=(*COUNTS, "unexpected_percent", "observed_value"),
    ),
    Difference(
        "The observed type of a column.",
        "Great Expectations gives the name of Spark's class (IntegerType), ours that of the type (int).",
        kinds=_TYPES,
        fields=("observed_value",),
    ),
    Difference(
        "The divergence of a column without values from bins.",
        "Great Expectations ends in a division by zero; ours is not met, as it is for values.",
        kinds=_DIVERGENCE,
        fields=(RAISED,),
    ),
    Difference(
        "JSON in single quotes, with raw control characters in strings; NaN and Infinity.",
        "Great Expectations reads with Python, which refuses the former and takes the latter; ours reads with Spark, "
        "which has it the other way round.",
        kinds=("expect_column_values_to_be_json_parseable",),
    ),
    Difference(
        "SQL patterns (the four of `like_pattern`).",
        "Great Expectations judges them in SQL databases only, not on Spark. Ours does.",
        kinds=tuple(
            f"expect_column_values_to_{verb}_like_pattern{end}"
            for verb in ("match", "not_match")
            for end in ("", "_list")
        ),
    ),
    Difference(
        "Text as bounds.",
        "Great Expectations takes numbers and dates only. Ours takes text for columns of text.",
    ),
    Difference(
        "Conditions on rows (`expect_rows_to_satisfy`).",
        "Great Expectations has queries (`unexpected_rows_expectation`), as which they are exported; these have no "
        "`mostly` and no percentages.",
        kinds=("expect_rows_to_satisfy",),
    ),
)


def declared(kind: str, field: str, theirs: Any, ours: Any, ddl: str | None) -> Difference | None:
    """The entry of the table that a difference belongs to, if one does."""
    return next((each for each in DIFFERENCES if each.covers(kind, field, theirs, ours, ddl)), None)
