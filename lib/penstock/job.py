"""What a job declares: typed parameters, inputs, outputs and a pure transform."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from penstock.errors import ConfigurationError
from penstock.interval import Interval, Unit, zone

if TYPE_CHECKING:
    from penstock.pictures import Picture, Results

Reach = int | Callable[[Any], int]
"""How many slices: a number, or a function of the parameters that gives it."""
WriteMode = Literal["replace_slice", "replace_all", "merge", "append_once", "scd2"]


@dataclass(frozen=True)
class LookBack:
    """A span: the slices of the interval itself and of so many days before it.

    >>> LookBack(30).start(Interval.parse("2018-07-31")).date().isoformat(), str(LookBack(30))
    ('2018-07-01', 'the interval and 30 days before it')
    """

    days: int

    def __post_init__(self) -> None:
        if self.days < 1:
            raise ConfigurationError(f"LookBack({self.days}): an input looks back at least one day.")

    def start(self, interval: Interval) -> datetime:
        """The first moment that a run over `interval` reads."""
        if interval.unit == "all":
            return interval.start
        first = interval.start.astimezone(zone(interval.tz)).date()
        return Interval.of("day", first - timedelta(days=self.days), interval.tz).start

    def __str__(self) -> str:
        return f"the interval and {self.days} days before it"


Span = Literal["interval", "earlier", "to_date", "all"] | LookBack


class Params(BaseModel):
    """The base of a job's parameters: frozen, no unknown names, a description for each field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Input:
    """One dataset that a job reads.

    Attributes:
        dataset: Its name in the catalog.
        span: Which slices a run over an interval reads: those of the `interval` itself, all slices
            `earlier` than it (which may be those of the job's own output), all up to the interval's end
            (`to_date`), the whole dataset (`all`), or the interval's and so many days before it (`LookBack(days)`).
        optional: The job runs without it; the transform is then given an empty frame.
        before: With the span `interval`: how many slices before the interval's own are read beside them.
        after: As `before`, behind them. What is read so does not make a run stale: a job that needs it replaces, by
            the window of its output, what a run over those slices would change.
        tracked: A change of it makes the intervals stale that read it. Not so for a job that reads what it wrote.
        shares: For raw text and for tables: the transform is not given the rows but the shares of the files, one a row,
            and returns a `Kernel` of them, which reads and writes in Python workers.
    """

    dataset: str
    span: Span = "interval"
    optional: bool = False
    before: Reach = 0
    after: Reach = 0
    tracked: bool = True
    shares: bool = False


@dataclass(frozen=True)
class Output:
    """One dataset that a job writes.

    Attributes:
        dataset: Its name in the catalog, where its columns and its slice column are declared.
        mode: What a publish does to what is there already; see docs/storage.md.
        rows_of: The input whose every row must be accounted for in this output (a row-preserving
            output), or None where the output is an aggregate.
        newest: `merge`: the column by which, of two rows of one key, the later is told; an equal or earlier one that
            comes afterwards changes nothing.
        rules: Rules in Python (`penstock.quality.rules.Rule`), beside those of the rules files; see docs/rules.md.
        before: `replace_slice`: how many slices before the interval's own a run computes again, where what it has read
            may change them (a session that began yesterday). Rows of slices farther out are left out; of the slices
            beside the interval's own, those in which nothing changed are left as they are.
        after: As `before`, behind them.
    """

    dataset: str
    mode: WriteMode = "replace_slice"
    rows_of: str | None = None
    rules: tuple[Any, ...] = ()
    before: Reach = 0
    after: Reach = 0
    newest: str | None = None

    @property
    def has_window(self) -> bool:
        """Whether a run replaces more slices than those of its intervals."""
        return self.before != 0 or self.after != 0

    @property
    def is_rewritten(self) -> bool:
        """Whether what is published is made of the staged rows, and not they themselves."""
        return self.mode == "scd2" or (self.mode == "merge" and self.newest is not None)


@dataclass(frozen=True)
class Job:
    """One module of work.

    `transform` is called with one DataFrame per input, by the input's name, and with `params` and
    `slices` where its signature has them. `slices` is a DataFrame with the columns `slice` (date,
    or timestamp for hours), `start` and `end` (timestamps): one row for each interval of the run.
    It returns one DataFrame (a job of one output) or a dict of them by output name. A frame
    may span many slices, so aggregates group by the slice column.

    Attributes:
        name: Unique among all installed jobs.
        transform: Pure: DataFrames in, DataFrames out; no reading, no writing, no action.
        inputs: By the name under which the transform takes them.
        outputs: By the name under which the transform returns them.
        params: The model of the parameters.
        unit: The interval that the job's slices have.
        batch: How many intervals one Spark pass may hold; 1 for a transform that can do only one.
        description: One sentence for `penstock jobs`.
        bind: Of a job whose datasets its parameters name: makes of them and of the configuration the job that runs.
        version: Of what it is made of beside its module: a query's text. A change of it is a change of the code.
        of: The job that this one was made of so; what is written for that one's parameters holds for it.
        pictures: Called with `penstock.Results` after the publish; the `penstock.Picture`s that it returns are shown
            on the run page. What goes wrong in it is noted there and does not fail the run.
    """

    name: str
    transform: Callable[..., Any]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    params: type[Params] = Params
    unit: Unit = "day"
    batch: int = 10_000
    description: str = ""
    pictures: Callable[[Results], Sequence[Picture]] | None = None
    bind: Callable[[Any, Any], Job] | None = None
    of: str = ""
    version: str = ""
    takes: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        accepted = set(inspect.signature(self.transform).parameters)
        known = set(self.inputs) | {"params", "slices"}
        if not self.outputs and self.bind is None:
            raise ConfigurationError(f"Job {self.name} declares no output.")
        if self.bind is not None:
            known |= accepted
        if unknown := accepted - known:
            raise ConfigurationError(
                f"Job {self.name}: its transform takes {', '.join(sorted(unknown))}, which is neither "
                f"an input nor one of params, slices. Inputs: {', '.join(sorted(self.inputs))}."
            )
        if missing := set(self.inputs) - accepted:
            raise ConfigurationError(
                f"Job {self.name}: its transform does not take the input {', '.join(sorted(missing))}."
            )
        for name, output in self.outputs.items():
            own = [given for given in self.inputs.values() if given.dataset == output.dataset]
            if any(given.span == "earlier" and (not given.optional or self.batch != 1) for given in own):
                raise ConfigurationError(
                    f"Job {self.name} reads what it wrote earlier to {output.dataset}: the first interval finds "
                    "nothing there (optional=True), and each must see the one before it (batch=1)."
                )
            if output.rows_of is not None and output.rows_of not in self.inputs:
                raise ConfigurationError(
                    f"Job {self.name}: output {name} keeps the rows of {output.rows_of}, which is no input."
                )
            if output.has_window and (output.mode != "replace_slice" or output.rows_of or self.unit == "all"):
                raise ConfigurationError(
                    f"Job {self.name}: output {name} has a window (before, after), which goes with replace_slice, "
                    "a unit of time, and rows that are no input's."
                )
        object.__setattr__(self, "takes", frozenset(accepted))
