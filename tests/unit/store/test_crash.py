"""SIGKILL at random moments: what was acknowledged is there, once, and the database is whole."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

from handful.errors import StoreError
from handful.store.database import Database
from handful.store.migrate import open_database
from handful.store.tables import api_tokens, usage, usage_writers
from handful.store.tokens import NewToken, Tokens
from tests.postgres import Postgres

PROGRAM = Path(__file__).with_name("crashing_writer.py")
NUM_KILLS = 40


def kill_writers(url: str, num_kills: int) -> Any:
    command = [sys.executable, str(PROGRAM), url, str(num_kills), "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_killed_writer_loses_nothing_it_was_told_was_written(database: Database, database_url: str) -> None:
    told = kill_writers(database_url, NUM_KILLS)
    assert told["usage"] >= NUM_KILLS  # each lived long enough to write
    with database.reading() as connection:
        num_requests = connection.execute(select(func.sum(usage.c.requests))).scalar_one()
        num_batches = connection.execute(select(func.sum(usage_writers.c.last_batch))).scalar_one()
        there = set(connection.execute(select(api_tokens.c.id)).scalars())
        if database.kind == "sqlite":
            assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    assert set(told["tokens"]) <= there
    assert len(there) <= len(told["tokens"]) + NUM_KILLS  # and at most one each that nobody heard of
    assert told["usage"] <= num_requests <= told["usage"] + NUM_KILLS
    assert num_requests == num_batches


def test_a_crash_of_postgresql_loses_nothing_that_was_written(postgres: Postgres, postgres_url: str) -> None:
    database = open_database(postgres_url)
    told: list[str] = []
    has_written, is_over = threading.Event(), threading.Event()

    def write() -> None:
        while not is_over.is_set():
            try:
                told.append(Tokens(database).create(NewToken())[0].id)
                has_written.set()
            except StoreError:
                is_over.wait(0.05)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(2):
            assert has_written.wait(30)
            postgres.stop("immediate")
            postgres.start()
            has_written.clear()
        assert has_written.wait(30)
    finally:
        is_over.set()
        thread.join()
    assert set(told) <= {token.id for token in Tokens(database).list()}
    database.close()
