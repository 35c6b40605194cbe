"""Models that accounts register while the server runs: each is named `account/name` and loaded when it is first asked.

An account's names begin with its own, so a name that is taken tells nobody anything. A Hub token stays in memory, where
loading needs it, and is gone with the process: what was fetched by then still loads. Servers that share a database
serve each other's models (store_sync.py); those that didn't get the Hub token have to find the files without it.
"""

import asyncio
import json
import logging
from contextlib import suppress
from pathlib import Path

from handful.errors import ConflictError, HandfulError, InvalidInputError, InvalidParameterError, StoreError, UserError
from handful.protocol.model_registration import ModelRegistration
from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.server.auth_state import Access
from handful.server.errors import ForbiddenError
from handful.server.garbage import collect_all
from handful.server.model_entry import ModelSource
from handful.server.model_examiner import ModelExaminer, told_to_owner
from handful.server.model_host import ModelHost, fix_of
from handful.server.model_uploads import Uploads
from handful.server.ownership import check_may_change, current_account, visible
from handful.server.registry import ModelRegistry
from handful.server.served_model import ServedModel
from handful.server.sources import size_bytes
from handful.store.models import Kind, ModelStore, NewModel, StoredModel

_LAST_SECONDS = 60.0
_log = logging.getLogger("handful.server")


class ModelCatalog:
    """Registers and removes models. Belongs to one event loop."""

    def __init__(self, models: ModelRegistry, access: Access, host: ModelHost | None) -> None:
        self._models, self._threads, self._host = models, access.threads, host
        self._store = None if access.database is None else ModelStore(access.database)
        self._registered: dict[str, StoredModel] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._lock, self._examiner = asyncio.Lock(), ModelExaminer()
        self._unusable: set[str] = set()

    @property
    def uploads(self) -> Uploads:
        """Files on their way. Raises StoreError where this server takes no models."""
        host = self._needed()[1]
        return Uploads(host.folder / "uploads", host.max_upload_bytes)

    async def refresh(self) -> None:
        """Serve the models of the database, and no longer those that are gone from it. Raises StoreError."""
        if self._store is None or self._host is None:
            return
        async with self._lock:
            found = {model.id: model for model in await self._threads.run(self._store.all)}
            for gone in [model for model in self._registered.values() if model.id not in found]:
                with suppress(ConflictError):  # it is being loaded: next time
                    self._keep_until_ended(gone, self._take_out(gone), deletes=False)
            known = {model.id for model in self._registered.values()} | self._unusable
            for model in found.values():
                if model.id not in known:
                    await self._adopt(model)

    async def _adopt(self, model: StoredModel) -> None:
        try:
            await self._serve(model, None)
        except HandfulError as error:  # the command line has that name
            self._unusable.add(model.id)
            _log.warning(json.dumps({"event": "model not served", "id": model.id, "kind": type(error).__name__}))

    def visible(self) -> list[StoredModel]:
        """The registered models that the caller sees."""
        return [model for model in self._registered.values() if visible(model.private_to)]

    async def register(self, asked: ModelRegistration, *, may_name_paths: bool) -> StoredModel:
        """Keep a model of the caller's and serve it. Raises InvalidInputError, ForbiddenError, ConflictError."""
        store, host = self._needed()
        owner = _owner()
        kind, location, upload = await self._located(own_name(asked.name), asked, may_name_paths)
        new = NewModel(
            name=own_name(asked.name),
            owner=owner,
            is_private=asked.private,
            kind=kind,
            location=location,
            revision=asked.revision,
        )
        async with self._lock:
            try:
                self._models.check_free(new.name)
                if kind != "hub":
                    await asyncio.to_thread(host.check_runs, new.name, location)
                made = await self._threads.run(store.create, new)
            except BaseException:
                if upload is not None:
                    await asyncio.to_thread(self.uploads.put_back, upload, new.name)
                raise
            await self._serve(made, asked.hub_token)
        return made

    async def remove(self, name: str) -> None:
        """Serve and keep a model no longer. Requests that run have a minute to end. Raises as a wrong name does."""
        store, _ = self._needed()
        async with self._lock:
            self._models.entry(name)  # 404 for what the caller doesn't see
            model = self._registered.get(name)
            if model is None:
                raise ForbiddenError(f"Model {name} was named when the server was started and stays.")
            check_may_change(model.owner, f"Model {name}")
            loaded = self._take_out(model)
            try:
                await self._threads.run(store.delete, model.id)
            except StoreError:
                await self._serve(model, None)
                raise
        self._keep_until_ended(model, loaded, deletes=True)

    def _take_out(self, model: StoredModel) -> ServedModel | None:
        """Serve it no longer. Raises ConflictError while it is being loaded."""
        loaded = self._models.remove(model.name)
        del self._registered[model.name]
        return loaded

    def _keep_until_ended(self, model: StoredModel, loaded: ServedModel | None, *, deletes: bool) -> None:
        ending = asyncio.ensure_future(self._end(model, loaded, deletes))
        self._closing.add(ending)
        ending.add_done_callback(self._closing.discard)

    async def _end(self, model: StoredModel, loaded: ServedModel | None, deletes: bool) -> None:
        if loaded is not None:
            await asyncio.to_thread(loaded.close, _LAST_SECONDS)
            del loaded
            await asyncio.to_thread(collect_all)
        if deletes and model.kind == "upload":
            await asyncio.to_thread(self.uploads.delete, Path(model.location))

    async def _located(
        self, name: str, asked: ModelRegistration, may_name_paths: bool
    ) -> tuple[Kind, str, Path | None]:
        """What kind of place a model is in, and which; for an upload also the folder that it was moved to."""
        if asked.hub_id is not None:
            return "hub", asked.hub_id, None
        if asked.path is None:
            self._models.check_free(name)
            arrived = await asyncio.to_thread(self.uploads.arrived, name)
            await self._examiner.check_upload(arrived, name)
            folder = await asyncio.to_thread(self.uploads.keep, arrived)
            return "upload", str(folder), folder
        if not may_name_paths:
            fix = "Use a token made with `--scope admin`, or upload the files."
            raise ForbiddenError("This token may not name files of the server.", fix=fix)
        path = Path(asked.path)
        if not path.is_absolute() or not (path.is_dir() or path.suffix == ".gguf"):
            raise InvalidParameterError("path", "must be the absolute path of a folder or .gguf file.")
        await self._examiner.check_path(path, name)
        return "path", asked.path, None

    async def _serve(self, model: StoredModel, hub_token: str | None) -> None:
        host = self._needed()[1]
        is_here = model.kind != "hub"
        purpose = await asyncio.to_thread(host.purpose_of, model.location) if is_here else None
        source = ModelSource(
            model.name,
            lambda: _loaded(host, model, hub_token),
            await asyncio.to_thread(size_bytes, model.location) if is_here else 0,
            host.kv_bytes if purpose in (None, TEXT_GENERATION) else 0,
            private_to=model.private_to,
            task=purpose,
            is_lazy=True,
            is_registered=True,
        )
        self._models.add(source)
        self._registered[model.name] = model

    def _needed(self) -> tuple[ModelStore, ModelHost]:
        if self._store is None or self._host is None:
            raise StoreError("This server takes no models: it has no database.", fix="Its log says why.")
        return self._store, self._host


def _loaded(host: ModelHost, model: StoredModel, hub_token: str | None) -> ServedModel:
    """The model. What is wrong with its files is for its owner to read, where they lie is not (InvalidInputError)."""
    try:
        return host.load(model, hub_token)
    except UserError as error:
        problem = told_to_owner(error, None if model.kind == "hub" else Path(model.location))
        fix = fix_of(model, hub_token, error)
        raise InvalidInputError(f"Model {model.name} can't be loaded: {problem}", fix=fix) from None


def own_name(name: str) -> str:
    """A model's served name: behind the caller's account. Raises ForbiddenError for another account's."""
    account, slash, _ = name.partition("/")
    if not slash:
        return f"{_owner()}/{name}"
    if account != _owner():
        raise ForbiddenError(f"Names of your models begin with {_owner()}/.", fix="Use another name.")
    return name


def _owner() -> str:
    account = current_account.get()
    if account is None:
        raise InvalidInputError("A registered model needs an owner.", fix="Send a token: the model is its account's.")
    return account
