"""Waits for a run on EMR in Airflow's triggerer, so that no worker has to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from penstock.airflow.watching import Watch
from penstock.config.emr import EmrSettings
from penstock.emr.aws import Aws
from penstock.emr.records import Submission
from penstock.errors import PenstockError


def clients(settings: EmrSettings, aws_conn_id: str | None) -> Aws:
    """AWS's clients: of an Airflow connection, by the amazon provider's hook; of the worker itself without one."""
    if aws_conn_id is None:
        return Aws(settings)
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    # Its client type decides nothing: the session is for all of them.
    hook = AwsBaseHook(aws_conn_id=aws_conn_id, client_type="s3", region_name=settings.region)
    region = settings.region or hook.region_name
    endpoint = settings.endpoint_url or hook.conn_config.get_service_endpoint_url("emr")
    known = settings.model_copy(update={"region": region, "endpoint_url": endpoint})
    return Aws(known, hook.get_session(region_name=region))


class EmrRunTrigger(BaseTrigger):
    """Fires once, when the run is at its end and what it printed is there.

    Somebody who fails or clears the task ends the run; a triggerer that is restarted goes on with it.

    Args:
        settings: The key `emr` of the environment.
        submission: The run.
        aws_conn_id: The Airflow connection; without one the triggerer's own credentials.
        poll_seconds: Between two looks.
        ends_at: When the run is ended, in seconds since 1970.
        kept: What the task is given back with the event.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        submission: Mapping[str, Any],
        aws_conn_id: str | None = None,
        poll_seconds: float = 10.0,
        ends_at: float | None = None,
        kept: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        self.settings, self.submission = dict(settings), dict(submission)
        self.aws_conn_id, self.poll_seconds, self.ends_at = aws_conn_id, poll_seconds, ends_at
        self.kept = list(kept)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Its class, and what it is made of."""
        names = ("settings", "submission", "aws_conn_id", "poll_seconds", "ends_at", "kept")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is an outcome."""
        watch = await self._watch()
        outcome = None
        while outcome is None:
            try:
                outcome = await asyncio.to_thread(watch.look)
            except PenstockError as error:
                outcome = watch.lost(error)
            if outcome is None and self.ends_at is not None and time.time() >= self.ends_at:
                outcome = await asyncio.to_thread(watch.timed_out)
            if outcome is None:
                await asyncio.sleep(self.poll_seconds)
        yield TriggerEvent({"outcome": outcome, "submission": self.submission, "kept": self.kept})

    async def on_kill(self) -> None:
        """End the run with the task."""
        watch = await self._watch()
        self.log.info("Ending %s", watch.submission.id)
        await asyncio.to_thread(watch.cancel)

    async def _watch(self) -> Watch:
        # Connections are asked of the triggerer, which must be done from its own thread for that.
        settings = EmrSettings.model_validate(self.settings, strict=False)
        aws = await sync_to_async(clients)(settings, self.aws_conn_id)
        return Watch(aws, Submission.of(self.submission))
