"""Usage adds up, once, for each day, token and model."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from handful.store.accounts import Accounts
from handful.store.database import Database
from handful.store.tokens import NewToken, Tokens
from handful.store.usage import Usage, UsageKey, UsageLedger

DAY = date(2026, 3, 1)


@pytest.fixture
def ledger(database: Database) -> UsageLedger:
    return UsageLedger(database)


def test_usage_adds_up_for_each_day_and_model(ledger: UsageLedger) -> None:
    one, other, next_day = UsageKey(DAY, "", "a"), UsageKey(DAY, "", "b"), UsageKey(DAY + timedelta(1), "", "a")
    ledger.add("w", 1, {one: Usage(1, 10, 5, 3, 100), other: Usage(1)})
    ledger.add("w", 2, {one: Usage(1, 20, 7, 0, 11), next_day: Usage(4)})
    rows = [(row.key, row.usage) for row in ledger.read(DAY, account=None)]
    assert rows == [(next_day, Usage(4)), (one, Usage(2, 30, 12, 3, 111)), (other, Usage(1))]


def test_a_batch_that_is_sent_again_counts_once(ledger: UsageLedger) -> None:
    key = UsageKey(DAY, "", "a")
    assert ledger.add("w", 1, {key: Usage(1)})
    assert not ledger.add("w", 1, {key: Usage(1)})
    assert ledger.add("another", 1, {key: Usage(1)})
    assert ledger.read(DAY, account=None)[0].usage == Usage(2)


def test_only_days_from_the_one_asked_for_are_read(ledger: UsageLedger) -> None:
    ledger.add("w", 1, {UsageKey(DAY, "", "a"): Usage(1)})
    assert ledger.read(DAY + timedelta(1), account=None) == []


def test_an_account_reads_its_own_tokens_and_nobody_elses(database: Database, ledger: UsageLedger) -> None:
    for name in ("ada", "grace"):
        Accounts(database).create(name)
    ada, _ = Tokens(database).create(NewToken(account="ada", name="laptop"))
    grace, _ = Tokens(database).create(NewToken(account="grace"))
    keys = {token_id: UsageKey(DAY, token_id, "m") for token_id in (ada.id, grace.id, "")}
    ledger.add("w", 1, dict.fromkeys(keys.values(), Usage(1)))
    assert [(row.key, row.token_name, row.token_prefix) for row in ledger.read(DAY, account="ada")] == [
        (keys[ada.id], "laptop", ada.prefix)
    ]
    assert [row.key for row in ledger.read(DAY, account=None)] == [keys[""]]


def test_writers_side_by_side_lose_nothing(ledger: UsageLedger) -> None:
    keys = [UsageKey(DAY, "", name) for name in "abcd"]

    def write(writer: int) -> None:
        for batch in range(5):
            chosen = keys if writer % 2 else keys[::-1]
            ledger.add(f"w{writer}", batch, dict.fromkeys(chosen, Usage(1)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [row.usage.requests for row in ledger.read(DAY, account=None)] == [20] * 4


def test_writers_that_are_long_gone_are_forgotten(database: Database, ledger: UsageLedger) -> None:
    ledger.add("old", 1, {UsageKey(DAY, "", "a"): Usage(1)})
    with database.writing() as connection:
        connection.execute(text("UPDATE usage_writers SET written_at = 1"))
    ledger.add("new", 1, {UsageKey(DAY, "", "a"): Usage(1)})
    with database.reading() as connection:
        assert connection.execute(text("SELECT id FROM usage_writers")).scalars().all() == ["new"]
