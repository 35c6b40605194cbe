"""API tokens: made, found, ended, and never kept."""

import math
import re
import time

import pytest
from sqlalchemy import text

from handful.errors import InvalidInputError, InvalidParameterError, NotFoundError
from handful.store.accounts import Accounts
from handful.store.database import Database
from handful.store.tables import metadata
from handful.store.tokens import NewToken, TokenLimits, Tokens


def test_a_token_is_found_by_its_secret(database: Database) -> None:
    Accounts(database).create("ada")
    limits = TokenLimits(60, 10_000, 4)
    token, secret = Tokens(database).create(NewToken(account="ada", name="laptop", limits=limits))
    assert Tokens(database).find(secret) == token
    assert (token.account, token.name, token.limits, token.scopes) == ("ada", "laptop", limits, ("predict",))


def test_a_secret_has_256_bits_and_none_is_made_twice(database: Database) -> None:
    secrets = {Tokens(database).create(NewToken())[1] for _ in range(20)}
    assert len(secrets) == 20
    assert all(re.fullmatch(r"hf_[A-Za-z0-9]{43}", secret) for secret in secrets)
    assert 43 * math.log2(62) >= 256
    assert len(set("".join(secrets))) > 50  # the whole alphabet is drawn from


def test_no_table_has_the_secret(database: Database) -> None:
    _, secret = Tokens(database).create(NewToken())
    with database.reading() as connection:
        rows = [row for table in metadata.tables.values() for row in connection.execute(table.select())]
    assert rows
    assert secret[3:] not in repr(rows)
    assert secret[9:20] not in repr(rows)


def test_anything_else_finds_nothing(database: Database) -> None:
    Tokens(database).create(NewToken())
    others = ["", "hf_", "hf_' OR 1=1 --", "hf_\x00", "hf_" + "é" * 43, "hf_" + "a" * 43 + "\n", "\ud800"]
    for secret in (*others, "hf_" + "a" * 1_000_000):
        assert Tokens(database).find(secret) is None


def test_a_secret_that_differs_in_one_letter_finds_nothing(database: Database) -> None:
    _, secret = Tokens(database).create(NewToken())
    assert Tokens(database).find(secret[:-1] + ("a" if secret[-1] != "a" else "b")) is None


def test_a_hash_does_not_open_anything(database: Database) -> None:
    Tokens(database).create(NewToken())
    with database.reading() as connection:
        stored = connection.execute(text("SELECT sha256 FROM api_tokens")).scalar_one()
    assert Tokens(database).find(stored) is None
    assert Tokens(database).find("hf_" + stored[:43]) is None


def test_a_revoked_token_is_not_valid_any_more_and_stays_revoked(database: Database) -> None:
    tokens = Tokens(database)
    token, secret = tokens.create(NewToken())
    assert token.is_valid(time.time())
    revoked = tokens.revoke(token.id)
    found = tokens.find(secret)
    assert found == revoked
    assert not revoked.is_valid(time.time())
    assert tokens.revoke(token.id) == revoked


def test_a_token_expires(database: Database) -> None:
    token, _ = Tokens(database).create(NewToken(lifetime_s=60))
    assert token.is_valid(token.created_at + 59)
    assert not token.is_valid(token.created_at + 60)


def test_revoking_what_is_not_there_is_told(database: Database) -> None:
    with pytest.raises(NotFoundError, match="no token 'x'"):
        Tokens(database).revoke("x")


def test_the_default_account_is_made_when_it_is_needed(database: Database) -> None:
    tokens = Tokens(database)
    tokens.create(NewToken())
    tokens.create(NewToken())
    assert [account.name for account in Accounts(database).list()] == ["default"]


def test_a_token_of_nobody_is_refused(database: Database) -> None:
    with pytest.raises(NotFoundError, match="no account 'ada'"):
        Tokens(database).create(NewToken(account="ada"))
    assert Tokens(database).list() == []


def test_tokens_are_listed(database: Database) -> None:
    tokens = Tokens(database)
    made = {tokens.create(NewToken(name=name))[0].id for name in ("one", "two")}
    assert {token.id for token in tokens.list()} == made


def test_what_a_token_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="must be one of predict, manage, admin, not 'root'"):
        NewToken(scopes=("predict", "root"))
    with pytest.raises(InvalidParameterError, match="scope"):
        NewToken(scopes=())
    with pytest.raises(InvalidParameterError, match="lifetime_s"):
        NewToken(lifetime_s=0)
    with pytest.raises(InvalidParameterError, match="requests_per_minute"):
        TokenLimits(requests_per_minute=0)
    with pytest.raises(InvalidInputError, match="name of a token"):
        NewToken(name="a b")
