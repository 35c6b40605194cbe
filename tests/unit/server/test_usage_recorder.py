"""Usage gets to the database: soon, once, and also when the database fails for a while."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from handful.errors import StoreError
from handful.server.state import ServerState
from handful.server.usage import today
from handful.server.usage_recorder import UsageRecorder
from handful.store.database import Database
from handful.store.usage import Usage, UsageKey, UsageLedger
from tests.unit.server.serving import client_of, run, until
from tests.unit.server.with_access import BODY, bearer, opened, state_over, written

PATH = "/models/fake"
KEY = UsageKey(today(), "", "m")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


class Flaky(UsageLedger):
    """A ledger that fails on demand: before it writes, or after (the answer to the commit got lost)."""

    fails_before = fails_after = False
    delay_s = 0.0
    num_calls = 0

    def add(self, writer_id: str, batch: int, amounts: Mapping[UsageKey, Usage]) -> bool:
        self.num_calls += 1
        time.sleep(self.delay_s)
        if self.fails_before:
            raise StoreError("The database is gone.")
        was_new = super().add(writer_id, batch, amounts)
        if self.fails_after:
            raise StoreError("The connection is gone.")
        return was_new


def state_with_ledger(database: Database, ledger: UsageLedger, **options: Any) -> ServerState:
    state = state_over(database)
    object.__setattr__(state.access, "recorder", UsageRecorder(ledger, retry_s=0.02, **options))
    return state


def post_while(database: Database, ledger: Flaky, then: Callable[[], None], num_requests: int = 3) -> list[int]:
    """Statuses of requests sent before `then`, and of one after; the server is closed at the end."""
    state = state_with_ledger(database, ledger)

    headers = bearer(database)

    async def send() -> list[int]:
        async with client_of(state) as client:
            before = [(await client.post(PATH, content=BODY, headers=headers)).status_code for _ in range(num_requests)]
            then()
            assert state.access.recorder is not None
            recorder = state.access.recorder
            await until(lambda: not recorder.num_unwritten_requests)
            return [*before, (await client.post(PATH, content=BODY, headers=headers)).status_code]

    return run(send())


def test_while_the_database_fails_answers_go_on_and_are_written_later(database: Database) -> None:
    ledger = Flaky(database)
    ledger.fails_before = True
    assert post_while(database, ledger, lambda: setattr(ledger, "fails_before", False)) == [200] * 4
    assert written(database)["fake"].requests == 4


def test_a_commit_whose_answer_got_lost_counts_once(database: Database) -> None:
    ledger = Flaky(database)
    ledger.fails_after = True
    assert post_while(database, ledger, lambda: setattr(ledger, "fails_after", False)) == [200] * 4
    assert written(database)["fake"].requests == 4
    assert ledger.num_calls > 2


def test_a_commit_that_hangs_holds_an_answer_up_for_a_second_at_most(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handful.server.usage.MAX_WAIT_S", 0.05)
    ledger = Flaky(database)
    ledger.delay_s = 0.5

    headers = bearer(database)

    async def send() -> float:
        async with client_of(state_with_ledger(database, ledger)) as client:
            started = time.perf_counter()
            await client.post(PATH, content=BODY, headers=headers)
            return time.perf_counter() - started

    assert run(send()) < 0.4
    assert written(database)["fake"].requests == 1  # closing the server wrote it


def test_a_lock_on_the_database_delays_what_is_written_and_nothing_else(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handful.server.usage.MAX_WAIT_S", 0.05)
    headers = bearer(database)
    other = sqlite3.connect(tmp_path / "handful.db", isolation_level=None)
    state = state_over(database)

    async def send() -> list[int]:
        async with client_of(state) as client:
            other.execute("BEGIN EXCLUSIVE")
            statuses = [(await client.post(PATH, content=BODY, headers=headers)).status_code for _ in range(3)]
            assert written(database) == {}
            other.execute("ROLLBACK")
            recorder = state.access.recorder
            await until(lambda: recorder is not None and not recorder.num_unwritten_requests)
            return statuses

    assert run(send()) == [200] * 3
    assert written(database)["fake"].requests == 3
    other.close()


def test_a_full_disk_delays_what_is_written_and_nothing_else(database: Database, tmp_path: Path) -> None:
    with database.reading() as connection:
        num_pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {num_pages}")
    ledger = UsageLedger(database)
    amounts = {UsageKey(today(), "", "m" * 190 + str(number)): Usage(1) for number in range(500)}

    async def use() -> None:
        recorder = UsageRecorder(ledger, retry_s=0.02)
        recorder.start()
        future = recorder.record(amounts)
        assert future is not None
        await future
        assert recorder.is_behind
        assert recorder.num_unwritten_requests == 500
        with database.reading() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        await until(lambda: not recorder.num_unwritten_requests)
        await asyncio.to_thread(recorder.close)

    run(use())
    assert sum(usage.requests for usage in written(database, None).values()) == 500


def test_what_cannot_be_kept_is_not_accepted(database: Database) -> None:
    ledger = Flaky(database)
    ledger.fails_before = True

    headers = bearer(database)

    async def send() -> list[int]:
        async with client_of(state_with_ledger(database, ledger, max_keys=2)) as client:
            paths = (PATH, "/models/org/fake", PATH)
            statuses = [(await client.post(path, content=BODY, headers=headers)).status_code for path in paths]
            return [*statuses, (await client.get("/health")).status_code]

    assert run(send()) == [200, 200, 503, 200]


def test_usage_that_is_lost_at_the_end_is_logged(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Flaky(database)
    ledger.fails_before = True

    headers = bearer(database)

    async def send() -> None:
        async with client_of(state_with_ledger(database, ledger)) as client:
            await client.post(PATH, content=BODY, headers=headers)

    run(send())
    assert "1 requests were not written" in caplog.text


def test_requests_side_by_side_share_commits_and_none_is_lost(database: Database) -> None:
    ledger = Flaky(database)

    headers = bearer(database)

    async def send() -> None:
        async with client_of(state_with_ledger(database, ledger)) as client:
            answers = await asyncio.gather(*(client.post(PATH, content=BODY, headers=headers) for _ in range(100)))
            assert {answer.status_code for answer in answers} == {200}
            assert written(database)["fake"].requests == 100

    run(send())
    assert ledger.num_calls < 60


def test_callers_without_a_token_do_not_wait_for_the_disk_and_are_written_soon(database: Database) -> None:
    ledger = Flaky(database)
    ledger.delay_s = 0.3
    state = state_over(database, required=False)
    object.__setattr__(state.access, "recorder", UsageRecorder(ledger))

    async def send() -> float:
        async with client_of(state) as client:
            started = time.perf_counter()
            for _ in range(20):
                await client.post(PATH, content=BODY)
            waited_s = time.perf_counter() - started
            recorder = state.access.recorder
            await until(lambda: recorder is not None and not recorder.num_unwritten_requests)
            return waited_s

    assert run(send()) < 2
    assert written(database, None)["fake"].requests == 20
    assert ledger.num_calls < 10


def test_a_future_is_done_only_when_its_amounts_are_written(database: Database) -> None:
    async def use() -> None:
        recorder = UsageRecorder(UsageLedger(database))
        recorder.start()
        for number in range(1, 20):
            future = recorder.record({KEY: Usage(1)})
            assert future is not None
            await future
            assert written(database, None)["m"].requests == number
        await asyncio.to_thread(recorder.close)

    run(use())


def test_closing_writes_what_is_left(database: Database) -> None:
    async def use() -> None:
        recorder = UsageRecorder(UsageLedger(database))
        recorder.start()
        for _ in range(50):
            recorder.record({KEY: Usage(1)})
        await asyncio.to_thread(recorder.close)

    run(use())
    assert written(database, None)["m"].requests == 50
