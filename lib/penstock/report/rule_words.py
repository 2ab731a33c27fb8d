"""What a rule expects, in words: from the name and the arguments of its expectation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from penstock.report.words import share, visible

_SHOWN = 6
_LONGEST = 240

# Braces hold arguments; {bounds}, {change} and {most} are put together from several.
_SAID: Mapping[str, str] = MappingProxyType(
    {
        "expect_column_distinct_values_to_be_in_set": "all values of {column} are among {value_set}",
        "expect_column_distinct_values_to_contain_set": "{column} has each of {value_set}",
        "expect_column_distinct_values_to_equal_set": "the values of {column} are just {value_set}",
        "expect_column_kl_divergence_to_be_less_than": "{column} is distributed as given: divergence below {threshold}",
        "expect_column_max_to_be_between": "the greatest {column} is {bounds}",
        "expect_column_max_to_be_recent": "the latest {column} is at most {max_age} old",
        "expect_column_mean_to_be_between": "the mean of {column} is {bounds}",
        "expect_column_median_to_be_between": "the median of {column} is {bounds}",
        "expect_column_metric_to_match_history": "the {metric} of {column} is {change}",
        "expect_column_min_to_be_between": "the least {column} is {bounds}",
        "expect_column_most_common_value_to_be_in_set": "the most common {column} is one of {value_set}",
        "expect_column_pair_values_a_to_be_greater_than_b": "{column_A} is {most} {column_B}",
        "expect_column_pair_values_to_be_equal": "{column_A} equals {column_B}",
        "expect_column_pair_values_to_be_in_set": "{column_A} and {column_B} are one of {value_pairs_set}",
        "expect_column_proportion_of_non_null_values_to_be_between": "the share of {column} that is given is {bounds}",
        "expect_column_proportion_of_unique_values_to_be_between": "the share of different {column} is {bounds}",
        "expect_column_quantile_values_to_be_between": "quantiles of {column}: {quantile_ranges}",
        "expect_column_stdev_to_be_between": "the standard deviation of {column} is {bounds}",
        "expect_column_sum_to_be_between": "the sum of {column} is {bounds}",
        "expect_column_sum_to_equal_input": "the sum of {column} is that of {input_expression} in the input {input}",
        "expect_column_to_exist": "there is a column {column}",
        "expect_column_type_to_be": "{column} is of the type {type_}",
        "expect_column_unique_value_count_to_be_between": "the number of different {column} is {bounds}",
        "expect_column_value_lengths_to_be_between": "the length of {column} is {bounds}",
        "expect_column_value_lengths_to_equal": "the length of {column} is {value}",
        "expect_column_value_z_scores_to_be_less_than": "{column} is less than {threshold} standard deviations off "
        "its mean",
        "expect_column_values_to_be_between": "{column} is {bounds}",
        "expect_column_values_to_be_decreasing": "{column} falls in the order of {order_by}",
        "expect_column_values_to_be_in_set": "{column} is one of {value_set}",
        "expect_column_values_to_be_in_type_list": "{column} is of one of the types {type_list}",
        "expect_column_values_to_be_increasing": "{column} grows in the order of {order_by}",
        "expect_column_values_to_be_json_parseable": "{column} is JSON",
        "expect_column_values_to_be_null": "{column} is null",
        "expect_column_values_to_be_of_type": "{column} is of the type {type_}",
        "expect_column_values_to_be_unique": "{column} is there only once",
        "expect_column_values_to_exist_in_dataset": "{column} is a {other_column} of {dataset}",
        "expect_column_values_to_match_like_pattern": "{column} is like {like_pattern}",
        "expect_column_values_to_match_like_pattern_list": "{column} is like {match_on} of {like_pattern_list}",
        "expect_column_values_to_match_regex": "{column} matches {regex}",
        "expect_column_values_to_match_regex_list": "{column} matches {match_on} of {regex_list}",
        "expect_column_values_to_match_strftime_format": "{column} is of the form {strftime_format}",
        "expect_column_values_to_not_be_in_set": "{column} is none of {value_set}",
        "expect_column_values_to_not_be_null": "{column} is not null",
        "expect_column_values_to_not_be_outliers": "{column} is not far from the others ({method} times {multiplier})",
        "expect_column_values_to_not_match_like_pattern": "{column} is not like {like_pattern}",
        "expect_column_values_to_not_match_like_pattern_list": "{column} is like none of {like_pattern_list}",
        "expect_column_values_to_not_match_regex": "{column} does not match {regex}",
        "expect_column_values_to_not_match_regex_list": "{column} matches none of {regex_list}",
        "expect_compound_columns_to_be_unique": "{column_list} together are there only once",
        "expect_intervals_to_be_complete": "{column} has rows of every {unit}",
        "expect_multicolumn_sum_to_equal": "{column_list} add up to {sum_total}",
        "expect_multicolumn_values_to_be_equal": "{column_list} are equal",
        "expect_rows_to_satisfy": "{condition}",
        "expect_select_column_values_to_be_unique_within_record": "{column_list} are all different",
        "expect_table_column_count_to_be_between": "the number of columns is {bounds}",
        "expect_table_column_count_to_equal": "there are {value} columns",
        "expect_table_columns_to_match_ordered_list": "the columns are {column_list}, in this order",
        "expect_table_columns_to_match_set": "the columns are {column_set}",
        "expect_table_row_count_to_be_between": "the number of rows is {bounds}",
        "expect_table_row_count_to_equal": "there are {value} rows",
        "expect_table_row_count_to_match_history": "the number of rows is {change}",
    }
)
# Arguments that documents leave out where they are as usual.
_USUAL: Mapping[str, Any] = MappingProxyType({"match_on": "any", "method": "iqr", "multiplier": 1.5, "runs": 14})
_APART = ("mostly", "row_condition")


def expected(rule: Mapping[str, Any]) -> str:
    """What a rule expects, as a half sentence.

    Args:
        rule: A rule as documents hold it: `expectation` and `arguments`.

    >>> expected({"expectation": "expect_column_values_to_be_between",
    ...           "arguments": {"column": "quantity", "min_value": 1, "row_condition": "kind = 'sale'"}})
    "quantity is at least 1, where kind = 'sale'"
    >>> expected({"expectation": "expect_column_values_to_not_be_null",
    ...           "arguments": {"column": "description", "mostly": 0.95}})
    'description is not null in at least 95 % of the rows'
    >>> expected({"expectation": "expect_moon_to_be_full", "arguments": {"phase": 4}})
    'moon to be full (phase: 4)'
    """
    kind, arguments = str(rule.get("expectation") or ""), rule.get("arguments") or {}
    said = _said(kind, arguments)
    if (mostly := arguments.get("mostly")) is not None:
        said += f" in at least {share(float(mostly), 1).replace('.0 %', ' %')} of the rows"
    if where := arguments.get("row_condition"):
        said += f", where {where}"
    return visible(said, _LONGEST)


def _said(kind: str, arguments: Mapping[str, Any]) -> str:
    texts = {name: _text(name, value) for name, value in {**_USUAL, **arguments}.items()}
    texts |= {"bounds": _bounds(arguments), "change": _change(arguments)}
    texts["most"] = "at least" if arguments.get("or_equal") else "greater than"
    try:
        return _SAID[kind].format_map(texts)
    except KeyError:
        # Of another version, or of nobody's vocabulary: what is there is told as it is.
        given = ", ".join(f"{name}: {_text(name, value)}" for name, value in arguments.items() if name not in _APART)
        words = kind.removeprefix("expect_").replace("_", " ")
        return f"{words} ({given})" if given else words


def _text(name: str, value: Any) -> str:
    if name == "quantile_ranges" and isinstance(value, Mapping):
        pairs = zip(value.get("quantiles") or (), value.get("value_ranges") or (), strict=False)
        return "; ".join(f"{quantile} is {_bounds({'min_value': a, 'max_value': b})}" for quantile, (a, b) in pairs)
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = ", ".join(_text("", item) for item in value[:_SHOWN])
        return shown if len(value) <= _SHOWN else f"{shown} … ({len(value)})"
    return _number(value)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if abs(value) >= 10_000 else str(value)


def _bounds(arguments: Mapping[str, Any]) -> str:
    low, high = arguments.get("min_value"), arguments.get("max_value")
    strict_low, strict_high = arguments.get("strict_min"), arguments.get("strict_max")
    if low is not None and high is not None and not strict_low and not strict_high:
        return _number(low) if low == high else f"between {_number(low)} and {_number(high)}"
    parts = []
    if low is not None:
        parts.append(f"{'more than' if strict_low else 'at least'} {_number(low)}")
    if high is not None:
        parts.append(f"{'less than' if strict_high else 'at most'} {_number(high)}")
    return " and ".join(parts) or "anything"


def _change(arguments: Mapping[str, Any]) -> str:
    runs = arguments.get("runs", _USUAL["runs"])
    if (far := arguments.get("max_change")) is not None:
        return f"within {far:.0%} of the median of the last {runs} runs".replace("%", " %")
    return f"within {_number(arguments.get('max_z'))} standard deviations of the mean of the last {runs} runs"
