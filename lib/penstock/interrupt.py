"""Makes Control-C end a Spark job as it ends anything else in Python: with a KeyboardInterrupt, and soon."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PATIENCE_SECONDS = 5


@contextmanager
def interruptible(spark: SparkSession) -> Iterator[None]:
    """For the length of the block, Control-C cancels the session's jobs and raises KeyboardInterrupt.

    PySpark's own handler cancels them over the very connection on which the interrupted thread awaits an answer. That
    is an error by itself, and whatever the thread asks for later gets the answer to the question before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> NoReturn:
        # A thread of its own has a connection of its own.
        cancelling = threading.Thread(target=_cancel, args=(spark,), daemon=True)
        cancelling.start()
        cancelling.join(_PATIENCE_SECONDS)
        _hang_up()
        raise KeyboardInterrupt

    root = logging.getLogger()
    before = signal.signal(signal.SIGINT, interrupt)
    root.addFilter(_is_news)
    try:
        yield
    finally:
        root.removeFilter(_is_news)
        signal.signal(signal.SIGINT, before or signal.default_int_handler)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message is another than Py4J's, which logs the interruption with a traceback of its own."""
    return not record.getMessage().startswith("KeyboardInterrupt while sending command")


def _cancel(spark: SparkSession) -> None:
    # The JVM may be gone already.
    with suppress(Exception):
        spark.sparkContext.cancelAllJobs()


def _hang_up() -> None:
    """Close this thread's connection to the JVM, so that it opens another one when it next asks for something."""
    from pyspark import SparkContext

    # There is no public way to it; where PySpark does not pin threads, connections are not shared and need no closing.
    gateway = SparkContext._gateway  # noqa: SLF001
    find = getattr(getattr(gateway, "_gateway_client", None), "get_thread_connection", None)
    if find is not None and (connection := find()) is not None:
        connection.close()
