"""A model behind a URL, for commands that take a model's name: `--model http://host:8000/models/NAME`."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from handful.types import Device, Precision

if TYPE_CHECKING:
    from handful.client.remote import RemoteModel

TokenOption = Annotated[
    str | None, typer.Option("--token", help="For a --model that is a URL; HANDFUL_TOKEN is kept out of histories.")
]


_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE | re.ASCII)


def is_url(name: str) -> bool:
    """Whether a model's name is the address of one that is served, though its scheme be none that is understood."""
    return _URL.match(name) is not None


def open_remote(
    url: str, token: str | None, *, precision: Precision | None = None, device: Device | None = None
) -> "RemoteModel":
    """The model behind a URL. Raises InvalidParameterError for what only a model in this process can honour, and for
    a URL that is neither http nor https."""
    from handful.client import connect
    from handful.config import settings
    from handful.errors import InvalidParameterError, RemoteError

    found = _URL.match(url)
    if found is None or found[1].lower() not in ("http", "https"):
        fix = "Such as http://127.0.0.1:8000/models/default"
        raise InvalidParameterError("--model", f"is {url}, and of URLs only http and https are understood.", fix=fix)
    for option, value in (("--precision", precision), ("--device", device)):
        if value is not None:
            raise InvalidParameterError(option, "can't be chosen from here: the server has loaded the model.")
    kept = settings().token
    used = token or (kept.get_secret_value() if kept else None)
    try:
        return connect(url, token=used)
    except RemoteError as error:
        if error.status not in (401, 403):
            raise
        problem = "isn't accepted by the server." if used else "is missing: the server asks for one."
        raise InvalidParameterError("--token", problem, fix="Set HANDFUL_TOKEN, or give --token.") from None


def refuse_token(token: str | None) -> None:
    """A token that no server would be shown is a mistake. Raises InvalidParameterError."""
    from handful.errors import InvalidParameterError

    if token is not None:
        raise InvalidParameterError("--token", "is for a --model that is a URL.", fix="Leave it out.")
