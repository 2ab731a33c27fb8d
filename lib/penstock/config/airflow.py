"""What Airflow is told of a nightly's tasks: `airflow` in nightly.yaml, for all jobs and for one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock.config.base import Model


class TaskSettings(Model):
    """How a job's task is to be run; what is not given for a job is taken from that for all."""

    pool: str | None = Field(default=None, min_length=1, description="The pool that it takes its slots from.")
    pool_slots: int | None = Field(default=None, ge=1, description="How many slots of it; 1 unless given.")
    retries: int | None = Field(default=None, ge=0, description="How often it is tried again; 2 unless given.")
    retry_minutes: float | None = Field(default=None, gt=0, description="Minutes between two tries; 5 unless given.")
    limit_minutes: float | None = Field(default=None, gt=0, description="Minutes after which it is ended.")
    refused: Literal["fail", "skip"] | None = Field(
        default=None, description="What a refusal by a rule makes of the task: fail (unless given) or skip."
    )

    def over(self, below: TaskSettings) -> TaskSettings:
        """These, and where one is not given, that of `below`."""
        return below.model_copy(update=self.model_dump(exclude_none=True))


class AirflowSettings(TaskSettings):
    """The same for all jobs, and when the nights are."""

    schedule: str = Field(
        default="30 2 * * *",
        min_length=9,
        description="When a night begins, as cron has it, in the environment's zone.",
    )
