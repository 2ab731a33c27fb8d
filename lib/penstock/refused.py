"""The rows that tables refused: shown without personal data, and run again where a rule was relaxed since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from penstock.batches import Sessions, run_all
from penstock.config import Config, Dataset
from penstock.errors import ConfigurationError, UsageError, did_you_mean
from penstock.interval import Interval
from penstock.job import Job
from penstock.ledger.model import Record
from penstock.quality import inspect
from penstock.quality.gate import NOT_NULL
from penstock.quality.inspect import Held
from penstock.quality.redact import Redactor
from penstock.spec import resolve, suites_of

Document = dict[str, Any]
# What the library itself refuses a row for.
OWN_REASONS = ("malformed", "type", "encoding", "interval", NOT_NULL)


def shown(
    config: Config,
    record: Record,
    name: str,
    interval: Interval | None,
    *,
    rule: str | None = None,
    limit: int = 10,
    show_personal: bool = False,
) -> Document:
    """What a dataset's quarantine holds, as `inspect.rejected` has it.

    Args:
        config: The environment.
        record: Its ledger, which knows what the runs read that rejected the rows.
        name: The dataset.
        interval: Only slices within it.
        rule: Only rows that break this rule.
        limit: How many examples.
        show_personal: Show raw text as it is.
    """
    dataset = config.dataset(name)

    @cache
    def redactor(run_id: str) -> Redactor:
        return Redactor(dataset, _source(config, record, run_id))

    return inspect.rejected(dataset, interval, rule=rule, limit=limit, redactors=None if show_personal else redactor)


def _source(config: Config, record: Record, run_id: str) -> Dataset | None:
    """The dataset that a run's rejected rows were read from; None where that cannot be told."""
    document = record.run(run_id) or {}
    read = [config.datasets.get(about["dataset"]) for about in document.get("inputs", {}).values()]
    known = [dataset for dataset in read if dataset is not None]
    texts = [dataset for dataset in known if dataset.holds_text]
    if len(known) < len(read) or len(texts) > 1:
        return None
    return next(iter(texts or known), None)


def replay(
    job: Job,
    config: Config,
    sets: Mapping[str, str],
    sessions: Sessions,
    *,
    rule: str | None = None,
    command: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Document:
    """Run a job again over exactly those intervals of which a quarantine holds rows.

    Rules are no part of a run's key, so these intervals count as done: they are forced.

    Args:
        job: The job.
        config: The environment.
        sets: What the command line sets of the job's parameters.
        sessions: Where the Spark session comes from, if there is work.
        rule: Only intervals with rows that break this rule.
        command: The command that asked.
        progress: Told the name of each step as it begins.

    Returns:
        `job`, `rule`, `state`, `before`, `after`, `released` (rows in quarantine), `rules` and `intervals` with the
        same three, and `batch`: the document of the run, None where there was nothing to run.

    Raises:
        UsageError: There is no such rule.
        ConfigurationError: What was kept does not tell enough to run it again.
    """
    before = _held(job, config)
    _check_rule(job, config, rule, before)
    wanted = {label: held for label, held in before.items() if rule is None or held.rules[rule]}
    if not wanted:
        return _document(job, rule, {}, {}, None)
    intervals = sorted(Interval.parse(label, config.settings.timezone, job.unit) for label in wanted)
    if job.unit != "all" and any(output.mode == "replace_all" for output in job.outputs.values()):
        raise ConfigurationError(
            f"{job.name} replaces its whole table by what one run brings, so {len(wanted)} of its intervals "
            "cannot be run again by themselves.",
            hint=f"Run the whole range: penstock run {job.name} --from A --to B --force",
        )
    spec = resolve(job, intervals, config, sets, command)
    batch = run_all(spec, config, sessions, force=True, progress=progress)
    after = _held(job, config)
    return _document(job, rule, wanted, {label: after.get(label, Held()) for label in wanted}, batch)


def _held(job: Job, config: Config) -> dict[str, Held]:
    """The rejected rows of a job by interval, of all its outputs together."""
    found: dict[str, Held] = {}
    for name in dict.fromkeys(output.dataset for output in job.outputs.values()):
        for label, held in inspect.held_by_job(config.dataset(name), job.name).items():
            here = found.setdefault(label, Held())
            here.rows += held.rows
            here.rules += held.rules
    return found


def _check_rule(job: Job, config: Config, rule: str | None, held: Mapping[str, Held]) -> None:
    if rule is None or any(rule in each.rules for each in held.values()):
        return
    legal = {*OWN_REASONS, *(name for each in held.values() for name in each.rules)}
    for suite in suites_of(job, config).values():
        legal |= {each.name for each in suite.rules}
    if rule not in legal:
        raise UsageError(f"{job.name} has no rule {rule}.", hint=did_you_mean(rule, legal))


def _document(
    job: Job, rule: str | None, before: Mapping[str, Held], after: Mapping[str, Held], batch: Document | None
) -> Document:
    intervals: list[Document] = []
    sums, left = Held(), Held()
    for label, held in sorted(before.items()):
        sums.rows, left.rows = sums.rows + held.rows, left.rows + after[label].rows
        sums.rules, left.rules = sums.rules + held.rules, left.rules + after[label].rules
        intervals.append({"interval": label, **_change(held, after[label])})
    return {
        "job": job.name,
        "rule": rule,
        "state": batch["state"] if batch else "skipped",
        "reason": None if batch else "nothing to replay",
        **_change(sums, left),
        "intervals": intervals,
        "batch": batch,
    }


def _change(before: Held, after: Held) -> Document:
    names = sorted({*before.rules, *after.rules}, key=lambda name: (-before.rules[name], name))
    return {
        **_numbers(before.rows, after.rows),
        "rules": {name: _numbers(before.rules[name], after.rules[name]) for name in names},
    }


def _numbers(before: int, after: int) -> Document:
    return {"before": before, "after": after, "released": before - after}
