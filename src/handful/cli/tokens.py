"""`handful tokens create | list | revoke`: the API tokens of the servers on this database.

A new token's secret is the only thing on stdout, so `TOKEN=$(handful tokens create)` has it; it can't be shown again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handful.cli.accounts_output import print_json, print_table, shown_time
from handful.cli.option_groups import grouped
from handful.cli.output import tell

if TYPE_CHECKING:
    from handful.store.database import Database
    from handful.store.tokens import ApiToken

app = typer.Typer(
    help="Make, list and revoke API tokens.", no_args_is_help=True, rich_markup_mode="markdown", add_completion=False
)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """What a token may ask for, where it is limited."""

    requests_per_minute: Annotated[int | None, typer.Option(help="Most requests a minute.")] = None
    tokens_per_minute: Annotated[
        int | None, typer.Option(help="Most of a model's tokens a minute, read and generated.")
    ] = None
    concurrent_requests: Annotated[int | None, typer.Option(help="Most requests at the same time.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """What a new token is."""

    account: Annotated[str, typer.Option(metavar="NAME", help="The user or organisation it is of.")] = "default"
    name: Annotated[str, typer.Option(metavar="NAME", help="What it is for, to tell it from others.")] = "token"
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="`predict` (the default), `manage` (change tasks and models) or `admin` (name its files); repeatable.",
        ),
    ] = None
    expires_days: Annotated[int | None, typer.Option(min=1, max=36500, help="Days until it expires.")] = None


@contextmanager
def opened_database() -> "Iterator[Database]":
    """The database of the settings."""
    from handful.config import settings
    from handful.store.migrate import open_database

    database = open_database(settings().database_url)
    try:
        yield database
    finally:
        database.close()


@app.command()
@grouped
def create(*, asked: TokenOptions, limits: LimitOptions, as_json: JsonOption = False) -> None:
    """Make a token and print it, this once.

    Example: handful tokens create --name laptop --scope predict --expires-days 90
    """
    from handful.store.tokens import PREDICT, NewToken, TokenLimits, Tokens

    new = NewToken(
        account=asked.account,
        name=asked.name,
        scopes=tuple(asked.scope or [PREDICT]),
        lifetime_s=None if asked.expires_days is None else asked.expires_days * 24 * 3600,
        limits=TokenLimits(limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent_requests),
    )
    with opened_database() as database:
        token, secret = Tokens(database).create(new)
    if as_json:
        return print_json(_token_json(token) | {"token": secret})
    print(secret)
    tell(f"Token {token.id} of {token.account}, for {' and '.join(token.scopes)}. It is not shown again: keep it safe.")
    return None


@app.command("list")
def list_command(*, as_json: JsonOption = False) -> None:
    """All tokens, without their secrets."""
    from handful.store.tokens import Tokens

    with opened_database() as database:
        tokens = Tokens(database).list()
    if as_json:
        return print_json([_token_json(token) for token in tokens])
    if not tokens:
        return tell("There are no tokens. Make one with: handful tokens create")
    header = ("ID", "TOKEN", "ACCOUNT", "NAME", "SCOPES", "CREATED", "EXPIRES", "STATE")
    return print_table(header, [_columns(token) for token in tokens])


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, from `handful tokens list`.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """End a token: every server on the database refuses it from its next request on."""
    from handful.store.tokens import Tokens

    with opened_database() as database:
        token = Tokens(database).revoke(token_id)
    if as_json:
        return print_json(_token_json(token))
    return tell(f"Token {token.id} ({token.prefix}..., {token.name}) is revoked.")


def _columns(token: "ApiToken") -> tuple[str, ...]:
    times = (shown_time(token.created_at), shown_time(token.expires_at))
    names = (token.id, f"{token.prefix}...", token.account, token.name, " ".join(token.scopes))
    return (*names, *times, _state(token))


def _state(token: "ApiToken") -> str:
    import time

    if token.revoked_at is not None:
        return "revoked"
    return "valid" if token.is_valid(time.time()) else "expired"


def _token_json(token: "ApiToken") -> dict[str, Any]:
    from dataclasses import asdict

    times = {name: shown_time(getattr(token, name)) or None for name in ("created_at", "expires_at", "revoked_at")}
    return asdict(token) | times | {"state": _state(token)}
