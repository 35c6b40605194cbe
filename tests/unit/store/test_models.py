"""Registered models in the database."""

import pytest

from handful.errors import ConflictError, InvalidInputError, NotFoundError
from handful.store import models as stored
from handful.store.accounts import Accounts
from handful.store.database import Database
from handful.store.models import ModelStore, NewModel


@pytest.fixture
def store(database: Database) -> ModelStore:
    Accounts(database).create("ada")
    return ModelStore(database)


def new(name: str = "ada/mine", **changes: object) -> NewModel:
    fields = {"owner": "ada", "is_private": True, "kind": "hub", "location": "ada/x", "revision": "main"} | changes
    return NewModel(name=name, **fields)  # type: ignore[arg-type]


def test_a_model_is_read_as_it_was_written(store: ModelStore) -> None:
    made = store.create(new())
    assert store.all() == [made]
    assert (made.private_to, store.create(new("ada/b", is_private=False)).private_to) == ("ada", None)


def test_a_name_is_given_once_and_free_when_its_model_is_gone(store: ModelStore) -> None:
    made = store.create(new())
    with pytest.raises(ConflictError, match="already a model named ada/mine"):
        store.create(new())
    store.delete(made.id)
    store.delete(made.id)
    assert store.create(new()).id != made.id


def test_every_owner_is_there_and_has_so_many_models(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match="no account 'bob'"):
        store.create(new(owner="bob"))
    monkeypatch.setattr(stored, "MAX_MODELS", 1)
    store.create(new())
    with pytest.raises(InvalidInputError, match="1 models already"):
        store.create(new("ada/b"))
