"""Pinned models in the database."""

from handful.store.accounts import Accounts
from handful.store.database import Database
from handful.store.models import ModelStore, NewModel
from handful.store.pins import PinStore


def test_pins_are_replaced_among_those_that_are_named(database: Database) -> None:
    pins = PinStore(database)
    pins.replace(["a", "b"], [])
    pins.replace(["b", "b", "c"], ["a", "b"])
    assert pins.all() == {"b", "c"}
    pins.replace([], ["b"])
    assert pins.all() == {"c"}
    pins.replace([], [str(number) for number in range(2000)] + ["c"])
    assert pins.all() == set()


def test_a_model_that_is_gone_is_no_longer_pinned(database: Database) -> None:
    Accounts(database).create("ada")
    models, pins = ModelStore(database), PinStore(database)
    made = models.create(NewModel(name="ada/x", owner="ada", is_private=True, kind="hub", location="a/b"))
    pins.replace(["ada/x", "default"], [])
    models.delete(made.id)
    assert pins.all() == {"default"}
