"""Users and organisations."""

import pytest

from handful.errors import InvalidInputError, NotFoundError
from handful.store.accounts import Accounts, check_label
from handful.store.database import Database


def test_accounts_are_listed_by_name(database: Database) -> None:
    accounts = Accounts(database)
    made = [accounts.create("grace"), accounts.create("ada")]
    assert accounts.list() == [made[1], made[0]]


def test_an_organisation_has_members(database: Database) -> None:
    accounts = Accounts(database)
    accounts.create("grace")
    accounts.create("ada")
    accounts.create("navy", "organisation", ["grace", "ada", "ada"])
    navy = next(account for account in accounts.list() if account.name == "navy")
    assert (navy.kind, navy.members) == ("organisation", ("ada", "grace"))


def test_a_user_and_an_organisation_cannot_share_a_name(database: Database) -> None:
    accounts = Accounts(database)
    accounts.create("ada")
    with pytest.raises(InvalidInputError, match="already an account named 'ada'"):
        accounts.create("ada", "organisation")


def test_an_unknown_member_is_named_and_nothing_is_made(database: Database) -> None:
    accounts = Accounts(database)
    with pytest.raises(NotFoundError, match="no user 'grace'"):
        accounts.create("navy", "organisation", ["grace"])
    assert accounts.list() == []


def test_an_organisation_is_no_member_of_another(database: Database) -> None:
    accounts = Accounts(database)
    accounts.create("navy", "organisation")
    with pytest.raises(NotFoundError, match="no user 'navy'"):
        accounts.create("fleet", "organisation", ["navy"])


def test_a_user_has_no_members(database: Database) -> None:
    with pytest.raises(InvalidInputError, match="Only an organisation"):
        Accounts(database).create("ada", "user", ["grace"])


@pytest.mark.parametrize(
    "name", ["", "-ada", "a b", "a/b", "a\n", "é", "a" * 97, "a\x00", "'; DROP TABLE accounts; --"]
)
def test_names_that_could_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="can't be the name of a user"):
        check_label("a user", name)
