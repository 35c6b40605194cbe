"""`handful users create | list`: users and organisations, whose API tokens `handful tokens` makes."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from handful.cli.accounts_output import print_json, print_table, shown_time
from handful.cli.output import tell
from handful.cli.tokens import JsonOption, opened_database

if TYPE_CHECKING:
    from handful.store.accounts import Account

app = typer.Typer(
    help="Make and list users and organisations.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name; users and organisations share one space.")],
    *,
    organisation: Annotated[bool, typer.Option("--organisation", help="Make an organisation.")] = False,
    member: Annotated[
        list[str] | None, typer.Option("--member", metavar="USER", help="A member of it; repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a user, or an organisation with its members.

    Example: handful users create ada
    """
    from handful.store.accounts import Accounts

    with opened_database() as database:
        account = Accounts(database).create(name, "organisation" if organisation else "user", member or [])
    if as_json:
        return print_json(_account_json(account))
    return tell(f"Made the {account.kind} {account.name}. A token for it: handful tokens create --account {name}")


@app.command("list")
def list_command(*, as_json: JsonOption = False) -> None:
    """All users and organisations."""
    from handful.store.accounts import Accounts

    with opened_database() as database:
        accounts = Accounts(database).list()
    if as_json:
        return print_json([_account_json(account) for account in accounts])
    if not accounts:
        return tell("There are no users. Make one with: handful users create NAME")
    rows = [(each.name, each.kind, shown_time(each.created_at), " ".join(each.members)) for each in accounts]
    return print_table(("NAME", "KIND", "CREATED", "MEMBERS"), rows)


def _account_json(account: "Account") -> dict[str, Any]:
    return {
        "name": account.name,
        "kind": account.kind,
        "created_at": shown_time(account.created_at),
        "members": list(account.members),
    }
