"""What a server needs to take models while it runs: how to load one, where uploads lie, and how large they may be."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from handful.errors import InvalidInputError, UserError
from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.server.served_model import ServedModel
from handful.store.models import StoredModel
from handful.types import Device, Precision

_SEND_AGAIN = (
    "Check its name. If it is private: this server has no Hub token for it; one is kept in memory only, where it was "
    "sent. Delete the model and register it again with `hub_token`."
)
_SEND_ANOTHER = "Register it again, with a `hub_token` that may read it."


@dataclass(frozen=True, slots=True)
class ModelHost:
    """`load` takes a registered model and its owner's token for the Hub, and blocks; `folder` holds the uploads.

    `kv_bytes` are those that a language model takes for keys and values; `precision` is what models are loaded in.
    """

    load: Callable[[StoredModel, str | None], ServedModel]
    purpose_of: Callable[[str], str | None]
    folder: Path
    max_upload_bytes: int = 20 << 30
    kv_bytes: int = 0
    precision: Precision = "auto"

    def check_runs(self, name: str, location: str) -> None:
        """Refuse a model on this disk that couldn't be loaded in the server's precision (InvalidInputError)."""
        if self.precision == "int8" and self.purpose_of(location) not in (None, TEXT_GENERATION):
            raise InvalidInputError(
                f"{name} would run through Transformers, which doesn't compute in int8, as this server's models do.",
                fix="Its operator can give that to single models instead: --precision NAME=int8.",
            )


def load_registered(
    model: StoredModel, hub_token: str | None, how: tuple[Precision | None, Device | None], folder: Path
) -> ServedModel:
    """Load a model from where its owner said it is.

    A Hub model is fetched with its owner's token and never with the server's own, into a cache of the owner's: what
    one account may read, and has fetched, is no other account's. Without the token (it is kept in memory only) what
    was fetched before still loads. Raises NotFoundError, CheckpointError, NotReadyError.
    """
    from handful.server.nlp_sources import load_any

    if model.kind != "hub":
        return load_any(model.location, *how)
    return load_any(str(_fetched(model, hub_token, folder / "hub" / model.owner)), *how)


def _fetched(model: StoredModel, hub_token: str | None, cache: Path) -> Path:
    from handful.errors import NotFoundError
    from handful.model.hub import HubAccess, fetch

    access = HubAccess(hub_token or False, cache)
    if hub_token is not None:
        return fetch(model.location, model.revision, local_only=False, access=access)[0]
    with suppress(NotFoundError):
        return fetch(model.location, model.revision, local_only=True, access=access)[0]
    return fetch(model.location, model.revision, local_only=False, access=access)[0]


def fix_of(model: StoredModel, hub_token: str | None, error: UserError) -> str:
    """What the owner of a model that can't be loaded may do: where the Hub refuses it, that is about its token."""
    if model.kind != "hub":
        return error.fix
    return _SEND_AGAIN if hub_token is None else _SEND_ANOTHER
