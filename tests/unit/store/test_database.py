"""Which databases there may be, how they are set up, and what their failures look like."""

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from handful.errors import InvalidInputError, StoreError
from handful.store import migrate
from handful.store.database import Database
from handful.store.migrate import HEAD, open_database
from handful.store.tables import accounts, metadata
from tests.postgres import Postgres


def test_opening_makes_every_table(database: Database) -> None:
    with database.reading() as connection:
        assert set(metadata.tables) <= set(inspect(connection).get_table_names())


def test_the_migrations_make_what_the_tables_say(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_migration_is_the_one_that_opening_looks_for() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "handful.store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_all_migrations_can_be_undone(database: Database) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "handful.store:migrations")
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]


def test_opening_again_keeps_what_is_there_and_runs_no_migration(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_database(database_url)
    with first.writing() as connection:
        connection.execute(accounts.insert().values(name="ada", kind="user", created_at=1))
    first.close()
    monkeypatch.delattr(migrate, "_upgrade")
    second = open_database(database_url)
    with second.reading() as connection:
        assert connection.execute(accounts.select()).one().name == "ada"
    second.close()


def test_many_that_open_a_new_database_at_once_all_get_it(database_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(open_database, [database_url] * 6))
    for database in opened:
        with database.reading() as connection:
            assert connection.execute(accounts.select()).all() == []
        database.close()


def test_a_migration_that_fails_leaves_nothing_behind(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(op, "create_index", broken)
    with pytest.raises(RuntimeError, match="broken"):
        open_database(database_url)
    database = Database(database_url)
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == []
    database.close()


def test_a_database_of_a_newer_handful_is_refused(database_url: str) -> None:
    database = open_database(database_url)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StoreError, match="newer handful"):
        open_database(database_url)


def test_a_transaction_that_fails_leaves_nothing_behind(database: Database) -> None:
    with suppress(ZeroDivisionError), database.writing() as connection:
        connection.execute(accounts.insert().values(name="ada", kind="user", created_at=1))
        raise ZeroDivisionError
    with database.reading() as connection:
        assert connection.execute(accounts.select()).all() == []


def test_sqlite_is_set_up_to_lose_nothing(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/a.db")
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    with database.reading() as connection:
        assert {name: connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in wanted} == wanted
    database.close()


def test_sqlite_files_are_their_owners_alone(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/new/a.db")
    with database.writing() as connection:
        connection.execute(accounts.insert().values(name="ada", kind="user", created_at=1))
        files = list((tmp_path / "new").iterdir())
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len(files) == 3  # with the WAL and its index
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    database.close()


def test_another_process_that_leaves_takes_nothing_of_the_database_away(tmp_path: Path) -> None:
    path = tmp_path / "handful.db"
    database = open_database(f"sqlite:///{path}")
    with (
        database.reading() as one,
        database.reading() as other,
    ):  # two connections: the second is opened beside the first
        for connection in (one, other):
            connection.execute(text("SELECT count(*) FROM accounts"))
    look = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM accounts'); c.close()"
    subprocess.run([sys.executable, "-c", look, path], check=True)
    assert path.with_name("handful.db-wal").exists()
    database.close()


def test_reading_sqlite_does_not_wait_for_a_write(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/a.db")
    with database.writing() as writer:
        writer.execute(accounts.insert().values(name="ada", kind="user", created_at=1))
        with database.reading() as reader:
            assert reader.execute(accounts.select()).all() == []
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://a/b",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/a",
        "sqlite:///a?x=1",
    ],
)
def test_other_urls_are_refused_with_those_that_work(url: str) -> None:
    with pytest.raises(InvalidInputError, match="Use sqlite:///FILE or postgresql://"):
        Database(url)


def test_a_password_is_never_shown() -> None:
    url = "postgresql://ada:sesame@127.0.0.1:1/x"
    with pytest.raises(StoreError) as caught:
        open_database(url)
    assert "sesame" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
    with pytest.raises(InvalidInputError) as refused:
        Database("postgresql//ada:sesame@127.0.0.1:x/x")
    assert "sesame" not in str(refused.value)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=f"{tmp_path}/file/a.db can't be opened"):
        open_database(f"sqlite:///{tmp_path}/file/a.db")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("not a database, but long enough to be read as one" * 10)
    with pytest.raises(StoreError, match="not a database"):
        open_database(f"sqlite:///{tmp_path}/a.db")


def test_a_lost_postgresql_is_told_and_used_again_when_it_is_back(postgres: Postgres, postgres_url: str) -> None:
    database = open_database(postgres_url)
    postgres.stop("immediate")
    try:
        with pytest.raises(StoreError), database.reading() as connection:
            connection.execute(accounts.select())
    finally:
        postgres.start()
    with database.reading() as connection:
        assert connection.execute(accounts.select()).all() == []
    database.close()
