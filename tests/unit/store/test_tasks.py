"""Tasks in the database: their names, owners and versions."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from handful.errors import ConflictError, InvalidInputError, NotFoundError
from handful.store import tasks as stored
from handful.store.accounts import Accounts
from handful.store.database import Database
from handful.store.tasks import TaskStore


@pytest.fixture
def store(database: Database) -> TaskStore:
    accounts = Accounts(database)
    accounts.create("ada")
    accounts.create("lab", "organisation", ["ada"])
    return TaskStore(database)


def test_a_task_is_read_as_it_was_written(store: TaskStore) -> None:
    made = store.create("a", '{"name": "a\\u0000é"}', owner="ada")
    assert store.all() == [made]
    assert store.get(made.id) == made
    assert (made.owner, made.is_private, made.version) == ("ada", False, 1)


def test_a_public_name_is_given_once(store: TaskStore) -> None:
    store.create("a", "{}", owner="ada")
    with pytest.raises(ConflictError, match="already a task named a"):
        store.create("a", "{}")
    assert len(store.all()) == 1


def test_a_private_name_is_free_for_all_others(store: TaskStore) -> None:
    store.create("a", "{}", owner="ada", is_private=True)
    store.create("a", "{}", owner="lab", is_private=True)
    store.create("a", "{}")
    with pytest.raises(ConflictError):
        store.create("a", "{}", owner="ada", is_private=True)


def test_a_private_task_has_an_owner_and_every_owner_is_there(store: TaskStore) -> None:
    with pytest.raises(InvalidInputError, match="needs an owner"):
        store.create("a", "{}", is_private=True)
    with pytest.raises(NotFoundError, match="no account 'bob'"):
        store.create("a", "{}", owner="bob")
    assert store.all() == []


def test_each_change_is_a_version_and_none_is_lost(store: TaskStore) -> None:
    made = store.create("a", "1")
    assert store.update(made.id, "2", 1).version == 2
    assert [(each.version, each.body) for each in store.history(made.id)] == [(2, "2"), (1, "1")]
    assert store.version(made.id, 1).body == "1"  # type: ignore[union-attr]
    assert store.version(made.id, 3) is None
    newest = store.get(made.id)
    assert newest is not None
    assert (newest.version, newest.body) == (2, "2")
    assert store.versions() == {made.id: 2}


def test_a_change_of_an_older_version_is_refused(store: TaskStore) -> None:
    made = store.create("a", "1")
    store.update(made.id, "2", 1)
    with pytest.raises(ConflictError, match="at version 2, not 1"):
        store.update(made.id, "3", 1)
    with pytest.raises(ConflictError, match="at version 2, not 1"):
        store.delete(made.id, 1)
    assert [each.body for each in store.history(made.id)] == ["2", "1"]


def test_of_changes_at_once_one_is_written(store: TaskStore) -> None:
    made = store.create("a", "1")

    def change(number: int) -> bool:
        try:
            store.update(made.id, str(number), 1)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(change, range(8))) == 1
    assert store.versions() == {made.id: 2}


def test_what_is_deleted_is_gone_and_its_name_is_free(store: TaskStore) -> None:
    made = store.create("a", "1")
    store.delete(made.id, 1)
    assert (store.all(), store.history(made.id), store.get(made.id)) == ([], [], None)
    for gone in (lambda: store.delete(made.id, 1), lambda: store.update(made.id, "2", 1)):
        with pytest.raises(NotFoundError):
            gone()
    assert store.create("a", "2").id != made.id


def test_the_number_of_tasks_and_versions_is_bounded(store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAX_TASKS", 2)
    monkeypatch.setattr(stored, "MAX_VERSIONS", 3)
    made = store.create("a", "1")
    store.create("b", "1")
    with pytest.raises(InvalidInputError, match="2 tasks already"):
        store.create("c", "1")
    store.create("c", "1", owner="ada")
    for version in range(1, 6):
        store.update(made.id, "x", version)
    assert [each.version for each in store.history(made.id)] == [6, 5, 4]
