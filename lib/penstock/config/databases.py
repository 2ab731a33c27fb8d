"""What a dataset that lies in a database says of it: who connects, how reads are split, what tells of changes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock.config.base import Model, Reference


class PostgresqlOptions(Model):
    """A table or view of PostgreSQL, Aurora or RDS; its location is `postgresql://HOST:PORT/DATABASE/SCHEMA.TABLE`."""

    user: str = Field(min_length=1, description="Who connects: a name, or a reference to one.")
    password: Reference | None = Field(default=None, description="Where the password is: env:NAME, file:PATH, aws:ID.")
    tls: Literal["require", "verify", "disable"] = Field(
        default="require", description="verify: the server's certificate, too; disable: for a server of this machine."
    )
    split_column: str | None = Field(
        default=None, description="A read is split by it into parts of like size; by default the first of the key."
    )
    splits: int = Field(default=4, ge=1, description="Of a read, at most: so many connections at once.")
    fetch_rows: int = Field(default=10_000, ge=1, description="How many rows come at a time.")
    mark: str | None = Field(
        default=None, description="A column that only grows (a time of change, a number): what is new is told by it."
    )
    mark_overlap: float = Field(
        default=3600,
        ge=0,
        description="How far behind the highest mark rows may still come in: seconds, or so much of a number.",
    )
    timezone: str | None = Field(
        default=None, description="In which its times without a zone are meant; by default the environment's."
    )
    staging: str | None = Field(
        default=None, description="The folder that rows to be written go through; by default one in the warehouse."
    )
