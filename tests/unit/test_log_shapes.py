"""Templates, parameters and sessions by shapes of lines are those of the lines looked at one by one."""

from __future__ import annotations

import random
import re

import pyarrow as pa
import pytest

from penstock_jobs.logs.drain import WILD, Settings
from penstock_jobs.logs.masks import DEFAULT, masked
from penstock_jobs.logs.shapes import Places, Shapes, is_fair
from penstock_jobs.logs.templates import SAID, Assigns, System, Systems, count, messages, templates

SESSION = r"(?P<id>blk_-?\d+|\breq-\w*\d\w*)"
FORMS = (
    "Receiving block blk_{a} src: /10.0.{b}.1:{a} dest: /10.0.0.{b}:50010",
    "Took {b} seconds for req-{c}, {a} bytes (7.66 KB) of  req-{c}",
    "Id 550e8400-e29b-41d4-a716-4466554400{b:02} of {c}",
    "Nothing varies",
    "\tfirst {a}\nsecond {b}",
    "größer {a} als\u00a0{b} ü{a}ü",
    "blk_{a}abc7 is odd",
    "",
)


def some_lines(seed: int, size: int = 300) -> list[str]:
    rng = random.Random(seed)
    return [
        rng.choice(FORMS).format(a=rng.randrange(10**4), b=rng.randrange(30), c=f"{rng.randrange(99)}ab{rng.random()}")
        for _ in range(size)
    ]


@pytest.mark.parametrize(
    "masks", [DEFAULT, (), (r"blk_-?\d+",), (r"\b42\b", r"\d+ bytes")], ids=["ours", "none", "few", "unfair"]
)
def test_masked_forms_are_those_of_the_lines(masks: tuple[str, ...]) -> None:
    lines = pa.array(["not of the slice", *some_lines(1)], pa.string())[1:]
    shapes = Shapes.of(lines, masks)
    assert shapes.forms.take(pa.array(shapes.codes)).to_pylist() == masked(lines, masks).to_pylist()
    # Each shape is one of some line, so whoever looks at all of them looks at nothing else.
    assert set(shapes.codes.tolist()) == set(range(len(shapes.texts)))
    # Without words of digits and letters one shape stands for many lines.
    assert len(shapes.texts) < 300


def test_fair_is_what_takes_any_digit_for_any_other() -> None:
    assert all(is_fair(mask) for mask in (*DEFAULT, SESSION))
    assert not any(is_fair(mask) for mask in ("80", r"[1-9]\d*", r"\x41", "[^7]"))


def test_parameters_and_sessions_are_those_of_the_lines() -> None:
    lines: list[str | None] = [*some_lines(2), None]
    names = ["shop" if number % 3 else "till" for number in range(len(lines))]
    statuses = pa.array([None if line is not None else 404 for line in lines], pa.int32())
    lines += [None, None, None]
    names += ["web", "web", "web"]
    codes = pa.array(names).dictionary_encode()
    statuses = pa.concat_arrays([statuses, pa.array([200, None, 999], pa.int32())])
    methods = pa.array([*[None] * (len(lines) - 3), "GET", "GET", "GET"], pa.string())
    batch = pa.record_batch([codes, pa.array(lines, pa.string()), methods, statuses], schema=SAID)
    systems = Systems(System(DEFAULT, Settings(0.7, 6, 100, masks_count=True)))
    counts = [row for part in count(systems, [batch, batch.slice(0, 50)]) for row in part.to_pylist()]
    assert sum(row["lines"] for row in counts) == len(lines) - 2 + 50
    found, ids = templates([(row["event_dataset"], row["message"], row["lines"]) for row in counts], [], systems)
    words = {each.id: tuple(each.template.split()) for each in found}
    said = messages(batch).to_pylist()
    assert said[-5:] == [lines[-5], "HTTP ?: client error", "HTTP GET: success", None, None]
    found_events = Assigns(systems, ids, words, SESSION).events(batch).to_pylist()
    for name, message, row in zip(names, said, found_events, strict=True):
        if message is None:
            assert (row["template_id"], row["parameters"], row["session_id"]) == (None, None, None)
            continue
        (form,) = masked(pa.array([message]), DEFAULT).to_pylist()
        assert row["template_id"] == ids[name][form]
        session = re.search(SESSION, message, re.ASCII)
        assert row["session_id"] == (session and session["id"])
        template = words[row["template_id"]]
        first = message.partition("\n")[0].split()
        if len(first) == len(template):
            assert row["parameters"] == [said for said, word in zip(first, template, strict=True) if WILD in word]
        else:
            pattern = r"\s+".join("(.+?)" if WILD in word else re.escape(word) for word in template)
            whole = re.fullmatch(pattern, message.partition("\n")[0].strip())
            assert row["parameters"] == (list(whole.groups()) if whole else [])


def test_words_stand_between_blanks() -> None:
    texts = pa.array(["x", " a\tbc ", "", "d", "  "])[1:]
    places = Places.of_words(texts)
    assert places.offsets.tolist() == [0, 2, 2, 3, 3]
    assert list(zip(places.starts.tolist(), places.lengths.tolist(), strict=True)) == [(1, 1), (3, 2), (0, 1)]
    assert Places.of_words(pa.array([], pa.string())).offsets.tolist() == [0]
