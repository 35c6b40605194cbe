"""Connections to the database: SQLite in a file, or PostgreSQL by URL.

Invariants: `reading` and `writing` are the only ways in; what `writing` was left without an exception is on disk
(SQLite with synchronous=FULL, PostgreSQL as it is set up there). Every failure of the database itself leaves as
StoreError, whose message has neither a statement nor a password in it.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from handful.errors import InvalidInputError, StoreError

BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for another process's write."""
_CONNECT_TIMEOUT_S = 3
_STATEMENT_TIMEOUT_MS = 5000
_NEITHER = "Use sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."


class Database:
    """One database, thread-safe. Nothing is connected before the first use."""

    def __init__(self, url: str) -> None:
        """Raises InvalidInputError for a URL that is neither of the two, or whose driver isn't installed."""
        self._url = _parsed(url)
        self.kind = self._url.get_backend_name()
        self._engine = _sqlite(self._url) if self.kind == "sqlite" else _postgres(self._url)

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads; in SQLite no writer holds it up. Raises StoreError."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, or undone by an exception. Raises StoreError."""
        # IMMEDIATE takes the write lock first: a read that turns into a write can't wait for it without a deadlock.
        with self._translated(), self._engine.execution_options(immediate=True).begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections. The database opens again when it is used again."""
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")
            raise StoreError(
                f"The database {self.shown_url} can't be used: {reason}.", fix="Is it there, running and writable?"
            ) from error


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the message would repeat the URL, and with it a password
        raise InvalidInputError("HANDFUL_DATABASE_URL is not a URL.", fix=_NEITHER) from None
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "sqlite":
        raise InvalidInputError(f"handful doesn't keep its data in {parsed.drivername!r}.", fix=_NEITHER)
    if parsed.host or parsed.query or parsed.database in (None, "", ":memory:"):
        raise InvalidInputError("A SQLite URL names a file and nothing else.", fix=_NEITHER)
    return parsed.set(database=str(Path(parsed.database or "").expanduser()))


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S}, pool_timeout=5)

    @event.listens_for(engine, "do_connect")
    def make_file(dialect: Any, record: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG001 - SQLAlchemy's names
        _make_private_file(Path(url.database or ""))

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: PoolProxiedConnection) -> None:  # noqa: ARG001 - SQLAlchemy's names
        connection.isolation_level = None  # sqlite3 begins no transaction by itself: `begin` below does
        _keep_a_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        is_immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_immediate else "BEGIN")

    return engine


def _keep_a_wal(connection: sqlite3.Connection) -> None:
    """Write by a WAL from now on. Of several that ask for it at once in a new file SQLite lets one and refuses the
    others, without the wait that it has for everything else."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _make_private_file(path: Path) -> None:
    """The file, readable by its owner alone; SQLite gives its WAL the same mode. Raises StoreError.

    A file that is there is left alone: closing any descriptor of it takes away all locks that this process has on it
    (POSIX), and another process that then closes the database would delete the WAL that this one goes on writing.
    """
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(
            f"The database {path} can't be opened: {error.strerror or error}.",
            fix="Set HANDFUL_DATABASE_URL to a place that can be written to.",
        ) from None


def _postgres(url: URL) -> Engine:
    options = f"-c statement_timeout={_STATEMENT_TIMEOUT_MS} -c lock_timeout={_STATEMENT_TIMEOUT_MS}"
    arguments = {"connect_timeout": _CONNECT_TIMEOUT_S, "options": options, "application_name": "handful"}
    try:
        # pre_ping: a connection that a restart of the server has cut is replaced before it is used
        return create_engine(
            url, hide_parameters=True, pool_pre_ping=True, pool_timeout=5, connect_args=arguments | _tcp_limits()
        )
    except ImportError:
        raise InvalidInputError(
            "PostgreSQL needs a driver that isn't installed.", fix="Install it with: pip install 'handful[postgres]'"
        ) from None


def _tcp_limits() -> dict[str, int]:
    """A host that stopped answering is noticed within seconds (libpq's names; milliseconds for the last)."""
    return {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2, "tcp_user_timeout": 6000}
