"""Kept answers: found again, bounded, the oldest gone first."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from handful.store.database import Database
from handful.store.responses import CacheBounds, CachedResponses
from handful.store.tables import cached_responses

ROOMY = CacheBounds(10_000, 100)


@pytest.fixture
def responses(database: Database) -> CachedResponses:
    return CachedResponses(database)


def age(database: Database, *keys: str) -> None:
    """Make answers old, the first the oldest."""
    with database.writing() as connection:
        for seconds, key in enumerate(keys):
            connection.execute(
                update(cached_responses).where(cached_responses.c.key == key).values(stored_at=1 + seconds)
            )


def test_what_was_kept_is_found_the_oldest_first(database: Database, responses: CachedResponses) -> None:
    responses.add({"a": '"é"', "b": "2"}, ROOMY)
    age(database, "b", "a")
    assert responses.newest(ROOMY) == [("b", "2"), ("a", '"é"')]


def test_a_key_that_is_kept_again_has_its_newest_body(responses: CachedResponses) -> None:
    responses.add({"a": "1"}, ROOMY)
    responses.add({"a": "2"}, ROOMY)
    assert responses.newest(ROOMY) == [("a", "2")]


@pytest.mark.parametrize("bounds", [CacheBounds(40, 100), CacheBounds(10_000, 4)], ids=["bytes", "entries"])
def test_past_a_bound_the_oldest_go(database: Database, responses: CachedResponses, bounds: CacheBounds) -> None:
    for key in "abcd":
        responses.add({key: '"12345678"'}, bounds)
    age(database, "c", "a", "b", "d")
    responses.add({"e": '"12345678"'}, bounds)
    assert [key for key, _ in responses.newest(ROOMY)] == ["b", "d", "e"]


def test_no_more_is_read_than_there_is_room_for(database: Database, responses: CachedResponses) -> None:
    responses.add({"a": "1111", "b": "2222", "c": "3333"}, ROOMY)
    age(database, "a", "b", "c")
    assert [key for key, _ in responses.newest(CacheBounds(8, 100))] == ["b", "c"]
    assert [key for key, _ in responses.newest(CacheBounds(100, 1))] == ["c"]


def test_writers_of_the_same_keys_do_not_fail_one_another(responses: CachedResponses) -> None:
    bodies = {f"key {i}": str(i) for i in range(20)}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: responses.add(bodies, ROOMY), range(8)))
    assert len(responses.newest(ROOMY)) == 20
