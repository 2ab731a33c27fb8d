"""Connections to PostgreSQL: from the driver by pg8000, from Spark's tasks by JDBC; its errors as ours."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from penstock.config import Dataset, PostgresqlOptions
from penstock.errors import (
    ConfigurationError,
    ConflictError,
    EngineError,
    InputMissingError,
    PenstockError,
    PermissionDeniedError,
    SchemaError,
)
from penstock.secrets import is_reference, read_secret

_DRIVER = "org.postgresql.Driver"
_APPLICATION = "penstock"
_CONNECT_SECONDS = 30
_EXAMPLE = "postgresql://db.example.org:5432/shop/public.orders"
# By the classes, or whole codes, of https://www.postgresql.org/docs/current/errcodes-appendix.html
_KINDS: tuple[tuple[str, type[PenstockError], str], ...] = (
    ("28", PermissionDeniedError, "Check user and password; they are read where `options` of the dataset say."),
    ("42501", PermissionDeniedError, "Grant the user what it lacks."),
    ("3D000", InputMissingError, "Make the database, or mend the location."),
    ("3F000", InputMissingError, "Make the schema, or mend the location."),
    ("42P01", InputMissingError, "Make the table, or mend the location."),
    ("42703", SchemaError, "Declare the columns that the table has."),
    ("22", SchemaError, "Mend the values, or make the column wide enough for them."),
    ("23", SchemaError, "Mend the rows, or the table's constraint."),
    ("40", ConflictError, "Run it again."),
    ("55P03", ConflictError, "Run it again when nobody holds the table."),
)


@dataclass(frozen=True)
class Place:
    """Where a table is, and who asks for it; the password is in no text of it."""

    host: str
    port: int
    database: str
    schema: str
    table: str
    user: str
    tls: str
    password: str | None = field(default=None, repr=False)

    @property
    def relation(self) -> str:
        """The table as SQL has it."""
        return f"{identifier(self.schema)}.{identifier(self.table)}"

    def jdbc(self, *, fetch_rows: int, init: str = "") -> tuple[str, dict[str, str]]:
        """The address and the properties with which Spark's tasks connect.

        Args:
            fetch_rows: How many rows come at a time.
            init: What each connection does first.
        """
        modes = {"require": "require", "verify": "verify-full", "disable": "disable"}
        properties = {
            "driver": _DRIVER,
            "user": self.user,
            "fetchsize": str(fetch_rows),
            "sslmode": modes[self.tls],
            "ApplicationName": _APPLICATION,
            "tcpKeepAlive": "true",
            **({"password": self.password} if self.password is not None else {}),
            # What Java trusts, as Python trusts what the system does.
            **({"sslfactory": "org.postgresql.ssl.DefaultJavaSSLFactory"} if self.tls == "verify" else {}),
            **({"sessionInitStatement": init} if init else {}),
        }
        return f"jdbc:postgresql://{self.host}:{self.port}/{self.database}", properties


def options_of(dataset: Dataset) -> PostgresqlOptions:
    """The options of a dataset that lies in PostgreSQL."""
    assert isinstance(dataset.options, PostgresqlOptions)
    return dataset.options


def place_of(dataset: Dataset) -> Place:
    """Where a dataset's table is, with its secrets read.

    Raises:
        ConfigurationError: The location is no address of a table, or holds a password, or a secret is not there.
    """
    options = options_of(dataset)
    # What is wrong with a location is not shown: it may hold a password.
    wrong = ConfigurationError(
        f"{dataset.name}: its location is no address of a table in PostgreSQL.", hint=f"As in {_EXAMPLE}"
    )
    try:
        parts = urlsplit(dataset.location)
        port = parts.port or 5432
    except ValueError:
        raise wrong from None
    if parts.username or parts.password:
        raise ConfigurationError(
            f"{dataset.name}: its location names a user or a password, which belong into `options`, by reference.",
            hint=f"As in {_EXAMPLE}, with options: {{user: shop, password: env:SHOP_PASSWORD}}",
        )
    database, _, relation = parts.path.strip("/").partition("/")
    schema, _, table = relation.rpartition(".")
    if parts.scheme != "postgresql" or not parts.hostname or not database or not table or "/" in table or parts.query:
        raise wrong
    user = options.user
    if is_reference(user):
        user = read_secret(user, f"{dataset.name}: the user").decode()
    password = None
    if options.password is not None:
        password = read_secret(options.password, f"{dataset.name}: the password").decode()
    return Place(
        parts.hostname,
        port,
        unquote(database),
        unquote(schema) or "public",
        unquote(table),
        user,
        options.tls,
        password,
    )


@contextmanager
def connected(place: Place, dataset: Dataset) -> Iterator[Any]:
    """A connection of pg8000, for the length of a block; what goes wrong in it is told as one of our errors.

    Raises:
        PenstockError: Of the kind that the database's error is.
    """
    with plain_errors(place, dataset):
        connection = connect(place)
        try:
            yield connection
        finally:
            with suppress(Exception):
                connection.close()


def connect(place: Place) -> Any:
    """A connection of pg8000 whose texts depend on nobody's settings."""
    try:
        from pg8000.native import Connection
    except ImportError as error:
        raise ConfigurationError(
            "PostgreSQL takes the extra `postgresql`.", hint="pip install 'penstock[postgresql]'"
        ) from error
    tls: Any = {"require": True, "disable": False}.get(place.tls)
    connection = Connection(
        place.user,
        host=place.host,
        port=place.port,
        database=place.database,
        password=place.password,
        ssl_context=ssl.create_default_context() if tls is None else tls,
        timeout=_CONNECT_SECONDS,
        application_name=_APPLICATION,
    )
    # The timeout is for reaching the server; a question may take as long as it takes.
    connection._usock.settimeout(None)  # noqa: SLF001 - there is no public way
    connection.run("SET DateStyle = ISO, YMD; SET TIME ZONE 'UTC'; SET extra_float_digits = 3")
    return connection


@contextmanager
def plain_errors(place: Place, dataset: Dataset) -> Iterator[None]:
    """The errors of pg8000 as ours: one line, with what to do."""
    try:
        yield
    except PenstockError:
        raise
    except Exception as error:
        told = _told(error, place, dataset)
        if told is None:
            raise
        # The cause is left out: its text has the server's answer field by field, and ours has the one that tells.
        raise told from None


def _told(error: Exception, place: Place, dataset: Dataset) -> PenstockError | None:
    where = f"{dataset.name}: PostgreSQL at {place.host}:{place.port}/{place.database}"
    kind = type(error).__name__
    if kind == "DatabaseError" and error.args and isinstance(error.args[0], dict):
        about = error.args[0]
        code, message = str(about.get("C", "")), str(about.get("M", "it gave no reason"))
        evidence = [str(about[key]) for key in ("D", "H") if key in about and not dataset.personal]
        for prefix, ours, hint in _KINDS:
            if code.startswith(prefix):
                return ours(f"{where}: {_shown(message, dataset)} ({code}).", hint=hint, evidence=evidence)
        return EngineError(f"{where}: {_shown(message, dataset)} ({code}).", evidence=evidence)
    if kind == "InterfaceError" or isinstance(error, OSError):
        cause = error.__cause__ or error
        hint = "Check host, port, network, and whether the server takes TLS (option `tls`); then run it again."
        return EngineError(f"{where}: the connection failed: {cause}.", hint=hint)
    return None


def _shown(message: str, dataset: Dataset) -> str:
    """The server's message; without the values that it quotes, where these may be somebody's."""
    return re.sub(r': ".*"', ": a value that is not shown", message) if dataset.personal else message


def identifier(name: str) -> str:
    """A name as SQL has it.

    >>> identifier('or"ders')
    '"or""ders"'
    """
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def literal(text: str) -> str:
    r"""A text as SQL has it, whatever the server's settings for backslashes.

    >>> literal("o'hara"), literal("a\\b")
    ("'o''hara'", " E'a\\\\b'")
    """
    escaped = text.replace("'", "''")
    if "\\" not in escaped:
        return f"'{escaped}'"
    doubled = escaped.replace("\\", "\\\\")
    return f" E'{doubled}'"
