"""What was known of a card, a terminal and an amount at the moment of each transaction, and nothing later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from penstock import AccountingError, Input, Job, LookBack, Output, Params

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from penstock import Mapped
    from penstock_jobs.fraud.packs import Owner
    from penstock_jobs.fraud.windows import Events, Real, Whole

DAYS = (1, 7, 30)
"""The windows, in days, of the Fraud Detection Handbook (Le Borgne et al., chapter 3)."""
LONGEST_DELAY = 14
KEYS = {
    "transaction_id": "bigint",
    "tx_ts": "timestamp",
    "tx_date": "date",
    "card_id": "bigint",
    "terminal_id": "bigint",
    "amount": "double",
    "is_fraud": "boolean",
}
AT = "_at"
MOMENT = ("weekend", "night", "hour")
OF_CARD = {
    **{f"card_count_{d}d": "bigint" for d in DAYS},
    **{f"card_sum_{d}d": "double" for d in DAYS},
    **{f"card_mean_{d}d": "double" for d in DAYS},
    "card_frauds_30d": "bigint",
    "seconds_since_last": "double",
    "amount_to_mean": "double",
    "amount_zscore": "double",
}
OF_TERMINAL = {
    **{f"terminal_count_{d}d": "bigint" for d in DAYS},
    **{f"terminal_risk_{d}d": "double" for d in DAYS},
    "terminal_frauds_30d": "bigint",
    "terminal_now_1d": "bigint",
}
# Each task numbers its rows from its own number times this.
_MOST_OF_A_TASK = 2**40
# So much of one transaction counts in the spread of a card's amounts, so that its square is a whole number that fits.
_LARGEST = 1e5
# Whoever always pays the same has no spread; a difference of this much is then one.
_LEAST_SPREAD = 1.0

Values = dict[str, "Whole | Real"]
Kernel = Callable[[dict[str, "Whole"]], Values]


class FraudFeaturesParams(Params):
    """How late the truth about a transaction is known."""

    label_delay_days: int = Field(
        default=7, ge=0, le=LONGEST_DELAY, description="Days after which a transaction is known to be fraud or not."
    )


def transform(transactions: DataFrame, slices: DataFrame, params: FraudFeaturesParams) -> Mapped:
    """Shares of fraud.transactions to a row each with what was known then; see docs/jobs/fraud_features.md."""
    from penstock import Mapped
    from penstock.packs import partitions_of_shares
    from penstock_jobs.fraud.packs import packed

    spark, delay = transactions.sparkSession, params.label_delay_days
    days = [row["slice"] for row in slices.select("slice").collect()]
    parts = partitions_of_shares(spark)
    # A day's rows come together, so that they are few files; of few days each is spread over more tasks.
    spread = max(1, parts // max(1, len(days)))
    zone = spark.conf.get("spark.sql.session.timeZone")
    owned = packed(transactions, partial(_read, zone=zone), parts)
    known = packed(owned, partial(_known, days=days, delay_days=delay, spread=spread), parts)
    return Mapped(known, _together, _ddl({**KEYS, **dict.fromkeys(MOMENT, "int"), **OF_CARD, **OF_TERMINAL}))


def card_features(columns: dict[str, Whole], *, delay_days: int) -> Values:
    """The features of `OF_CARD`, in the order of the rows.

    Args:
        columns: card_id, time (microseconds), amount (ten-thousandths), fraud (0 or 1).
        delay_days: After so many days a fraud is known.
    """
    import numpy as np

    from penstock_jobs.fraud.windows import DAY, SECOND, between, divided, ordered, running

    time, amount = columns["time"], columns["amount"]
    made = _empty(OF_CARD, len(time))
    for events in ordered(columns["card_id"], time, (max(DAYS) + delay_days) * DAY):
        at = events.order
        sums = running(amount[at])
        for days in DAYS:
            window = events.window(days * DAY)
            count, total = window[1] - window[0], between(sums, window) / 10_000
            made[f"card_count_{days}d"][at] = count
            made[f"card_sum_{days}d"][at] = total
            made[f"card_mean_{days}d"][at] = total / count
        known = events.window(30 * DAY, ago=delay_days * DAY) if delay_days else _before(events, 30 * DAY)
        made["card_frauds_30d"][at] = between(running(columns["fraud"][at]), known)
        # The past is what happened before this moment: of several transactions in it none is another's past.
        past = _before(events, 30 * DAY)
        here = past[1]
        last = time[at][np.maximum(here - 1, 0)]
        made["seconds_since_last"][at] = np.where(here > events.begin, (time[at] - last) / SECOND, np.nan)
        cents = np.minimum(np.rint(amount[at] / 100), _LARGEST * 100).astype(np.int64)
        count, total = past[1] - past[0], between(running(cents), past) / 100
        mean = divided(total, count, np.nan)
        squares = between(running(cents * cents), past) / 10_000
        spread = np.sqrt(np.maximum(divided(squares - total * np.nan_to_num(mean), count - 1, np.nan), 0))
        now = amount[at] / 10_000
        with np.errstate(invalid="ignore", divide="ignore"):
            made["amount_to_mean"][at] = np.where(mean > 0, now / mean, np.nan)
            made["amount_zscore"][at] = (now - mean) / np.maximum(spread, _LEAST_SPREAD)
    return made


def terminal_features(columns: dict[str, Whole], *, delay_days: int) -> Values:
    """The features of `OF_TERMINAL`, in the order of the rows; of terminal_id, time and fraud as in `card_features`."""
    from penstock_jobs.fraud.windows import DAY, between, divided, ordered, running

    made = _empty(OF_TERMINAL, len(columns["time"]))
    for events in ordered(columns["terminal_id"], columns["time"], (max(DAYS) + delay_days) * DAY):
        at = events.order
        frauds = running(columns["fraud"][at])
        for days in DAYS:
            # Without a delay a row would see its own label: the past then ends before this moment.
            window = events.window(days * DAY, ago=delay_days * DAY) if delay_days else _before(events, days * DAY)
            count, found = window[1] - window[0], between(frauds, window)
            made[f"terminal_count_{days}d"][at] = count
            made[f"terminal_risk_{days}d"][at] = divided(found, count, 0.0)
            if days == max(DAYS):
                made["terminal_frauds_30d"][at] = found
        now = events.window(DAY)
        made["terminal_now_1d"][at] = now[1] - now[0]
    return made


def _before(events: Events, length: int) -> tuple[Whole, Whole]:
    """The rows of the same owner in the time before a row's moment, by row."""
    import numpy as np

    return events.window(length)[0], np.searchsorted(events.key, events.key, side="left")


def _read(shares: Iterable[pa.RecordBatch], zone: str | None) -> Iterator[tuple[str, pa.Table, Owner]]:
    """The rows of a table's shares for their cards, and what their terminals are asked of them; for `packs.packed`.

    The two find each other again by AT, which no other row has.
    """
    import numpy as np
    import pyarrow as pa
    from pyspark import TaskContext

    from penstock import TableReader
    from penstock.packs import gathered
    from penstock.storage.types import arrow_type
    from penstock_jobs.fraud.packs import ROWS, by

    schema = pa.schema([(name, arrow_type(kind)) for name, kind in KEYS.items()])
    batches = (batch for reader in TableReader.each(shares) for batch in reader.batches(schema, sliced="tx_date"))
    task = TaskContext.get()
    first = task.partitionId() * _MOST_OF_A_TASK if task else 0
    for table in gathered(batches, ROWS):
        own = table.append_column(AT, pa.array(np.arange(first, first + table.num_rows)))
        first += table.num_rows
        yield "card", _with_moment(own, zone), by("card_id")
        yield "terminal", own.select(["tx_ts", "tx_date", "terminal_id", "is_fraud", AT]), by("terminal_id")


def _with_moment(table: pa.Table, zone: str | None) -> pa.Table:
    """`MOMENT` beside the rows: Saturday or Sunday, the hours 0 to 6, the hour; in a time zone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    moment = table.column("tx_ts").cast(pa.timestamp("us", zone))
    hour = pc.hour(moment)
    columns = (pc.greater_equal(pc.day_of_week(moment), 5), pc.less_equal(hour, 6), hour)
    for name, column in zip(MOMENT, columns, strict=True):
        table = table.append_column(name, column.cast(pa.int32()))
    return table


def _empty(types: dict[str, str], rows: int) -> Values:
    import numpy as np

    whole, real = np.dtype(np.int64), np.dtype(np.float64)
    made: Values = {}
    for name, kind in types.items():
        made[name] = np.empty(rows, whole) if kind == "bigint" else np.empty(rows, real)
    return made


def _known(
    batches: Iterable[pa.RecordBatch], days: Sequence[date], delay_days: int, spread: int
) -> Iterator[tuple[str, pa.Table, Owner]]:
    """What is known of the cards and of the terminals of a partition at each of their rows of these days."""
    from penstock_jobs.fraud.packs import unpacked

    tables = unpacked(batches)
    owner = partial(_day_and_share, spread=spread)
    if "card" in tables:
        yield "card", _with(tables["card"], partial(card_features, delay_days=delay_days), days), owner
    if "terminal" in tables:
        found = _with(tables["terminal"], partial(terminal_features, delay_days=delay_days), days)
        yield "terminal", found.select(["tx_date", AT, *OF_TERMINAL]), owner


def _with(table: pa.Table, kernel: Kernel, days: Sequence[date]) -> pa.Table:
    """What a kernel makes of all rows beside them, for the rows of some days."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {name: table.column(name).to_numpy() for name in ("card_id", "terminal_id") if name in table.column_names}
    columns["time"] = table.column("tx_ts").cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    columns["fraud"] = pc.fill_null(table.column("is_fraud"), False).cast(pa.int64()).to_numpy()
    if "amount" in table.column_names:
        columns["amount"] = np.rint(table.column("amount").to_numpy() * 10_000).astype(np.int64)
    for name, values in kernel(columns).items():
        table = table.append_column(name, pa.array(values, from_pandas=True))
    return table.filter(pc.is_in(table.column("tx_date"), pa.array(days, pa.date32())))


def _day_and_share(table: pa.Table, spread: int) -> Whole:
    """The day of each row, as many numbers as it is spread over."""
    import pyarrow as pa

    day: Whole = table.column("tx_date").cast(pa.int32()).cast(pa.int64()).to_numpy()
    share: Whole = table.column(AT).to_numpy() % spread
    return day * spread + share


def _together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of a partition with what is known of their cards and of their terminals, day by day."""
    import numpy as np
    import pyarrow as pa

    from penstock_jobs.fraud.packs import runs_of, unpacked

    tables = unpacked(batches)
    if not tables:
        return
    sides = []
    for kind in ("card", "terminal"):
        table = tables[kind]
        day = table.column("tx_date").cast(pa.int32()).to_numpy()
        sides.append(table.take(pa.array(np.lexsort((table.column(AT).to_numpy(), day)))))
    cards, terminals = sides
    if not cards.column(AT).equals(terminals.column(AT)):
        raise AccountingError("fraud_features: rows of cards and of terminals do not find each other.")
    rows = cards.drop_columns([AT])
    for name in OF_TERMINAL:
        rows = rows.append_column(name, terminals.column(name))
    yield from runs_of(rows, "tx_date")


def _ddl(types: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())


job = Job(
    name="fraud_features",
    description="Per transaction, what was known then: counts, sums, means, risk with the delay of labels.",
    transform=transform,
    inputs={"transactions": Input("fraud.transactions", span=LookBack(max(DAYS) + LONGEST_DELAY + 1), shares=True)},
    outputs={"features": Output("fraud.features")},
    params=FraudFeaturesParams,
)
