"""Who sees what: a private model or task exists for the tokens of its owner, and for nobody else.

Everybody else is answered as for a name that never existed. The caller's account is a context variable that `AuthGate`
sets, and the registries ask `visible` in each lookup and each list, so no route can forget to. Work outside of a
request (loading, watching engines) has no caller and asks the registries for everything by name.

An owner is an account, a user or an organisation: the one that the token was made for. A member of an organisation
sees what is the organisation's own with a token of the organisation.
"""

from contextvars import ContextVar

from handful.server.errors import ForbiddenError

current_account: ContextVar[str | None] = ContextVar("current_account", default=None)
"""The account of the token that the request came with; None without a token, and outside of requests."""


def visible(private_to: str | None) -> bool:
    """Whether the caller sees what is private to an account (None: to nobody, it is public)."""
    return private_to is None or private_to == current_account.get()


def check_may_change(owner: str | None, what: str) -> None:
    """Refuse changes of what is visible and another account's (403). What has no owner is everybody's."""
    if owner is not None and owner != current_account.get():
        raise ForbiddenError(f"{what} belongs to another account.", fix=f"Use a token of {owner}.")
