"""Each test of the store runs twice: on SQLite in a file and on a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from handful.store.database import Database
from handful.store.migrate import open_database
from tests.postgres import Postgres, make_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests."""
    server = make_postgres()
    yield server
    server.stop("immediate")
    server.remove()


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """Its database, emptied."""
    postgres.empty()
    return postgres.url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that isn't there yet (SQLite) or is empty (PostgreSQL)."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/handful.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The same, opened."""
    opened = open_database(database_url)
    yield opened
    opened.close()
