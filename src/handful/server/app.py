"""The app factory: what a request passes, from the outside in, and which file answers it.

MetricsGate  counts and times                          metrics.py
AccessLog    an id, one log line, the last catch       access_log.py
HostGuard    Host and Origin                           host_guard.py
AuthGate     the token, and what it may do             auth.py
DrainGate    refuses what comes after SIGTERM          drain.py
UsageGate    the token's limits, and its usage         usage.py
DirectRoutes finds the route                           direct_routes.py
routes       nlp_routes.py, backend_routes.py, openai_*.py, tgi.py, tasks*.py, health.py, metrics.py, usage_route.py,
             docs_page.py
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from handful.server import (
    backend_routes,
    bulk,
    docs_page,
    health,
    metrics,
    models_registered,
    nlp_routes,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_models,
    status,
    tasks,
    tasks_changes,
    tgi,
    usage_route,
)
from handful.server.access_log import AccessLog
from handful.server.auth import AuthGate
from handful.server.classifier_sync import ClassifierSync
from handful.server.direct_routes import DirectRoutes
from handful.server.drain import DrainGate
from handful.server.errors import install_error_handlers
from handful.server.gated_app import GatedApp
from handful.server.host_guard import HostGuard
from handful.server.model_catalog import ModelCatalog
from handful.server.model_entry import ModelEntry
from handful.server.model_pins import ModelPins
from handful.server.nlp_language_model import LanguageModelTasks
from handful.server.openai_chat_renderer import ChatRenderer
from handful.server.openapi import failures
from handful.server.openapi_document import describe
from handful.server.state import ServerState
from handful.server.store_sync import StoreSync
from handful.server.task_editor import TaskEditor
from handful.server.task_sync import TaskSync
from handful.server.usage import UsageGate

_OPENAI = (openai_models.router, openai_completions.router, openai_chat.router, openai_embeddings.router)
_OWN = (
    *(tgi.below_models, status.router, backend_routes.router, tasks.router, tasks_changes.router),
    *(models_registered.router, usage_route.router, nlp_routes.router),
)
_ROUTERS: tuple[tuple[APIRouter, dict[int | str, Any] | None], ...] = (
    (health.router, None),
    (metrics.router, failures("hugging face")),
    (docs_page.router, failures("hugging face")),
    (bulk.router, None),
    *((router, failures("openai")) for router in _OPENAI),
    (tgi.router, failures("tgi")),
    *((router, failures("hugging face")) for router in _OWN),
)
"""All routers, in the order in which a path is looked up, and the failures that are described for them."""


def create_app(state: ServerState, when_settled: Callable[[ModelEntry], None] = lambda _: None) -> GatedApp:
    """The HTTP app of a server. Models load in the background once it starts, and are freed when it stops.

    `when_settled` is called in the event loop for each model that is ready or failed to load.
    """
    app = GatedApp(
        title="handful",
        version=version("handful"),
        summary="Few-shot predictions from a language model on your own machine.",
        docs_url=None,  # the page would load its script from another site; ours is docs_page.py
        redoc_url=None,
        lifespan=lambda app: _lifespan(app, state, when_settled),
    )
    app.state.server = state
    app.state.metrics = metrics.Metrics(state.models)
    app.state.chat_renderer = ChatRenderer()
    app.state.language_model_tasks = LanguageModelTasks(app.state.chat_renderer)
    app.state.model_catalog = ModelCatalog(state.models, state.access, state.host)
    app.state.model_pins = ModelPins(state.models, state.access)
    app.state.task_editor = TaskEditor(state.tasks, state.models, state.access)
    for router, responses in _ROUTERS:
        app.include_router(router, responses=responses)
    describe(app)
    install_error_handlers(app)
    app.front = _gates(app, state)
    return app


def _gates(app: GatedApp, state: ServerState) -> ASGIApp:
    """All gates in front of the routes, put together from the inside out."""
    routes = DirectRoutes(app.fallback, [router for router, _ in _ROUTERS])
    usage = UsageGate(routes, state.access)
    admission = AuthGate(DrainGate(usage, state.drain), state.access.authenticator)
    return metrics.MetricsGate(AccessLog(HostGuard(admission, state.allowed_hosts)), app.state.metrics)


@asynccontextmanager
async def _lifespan(
    app: FastAPI, state: ServerState, when_settled: Callable[[ModelEntry], None]
) -> AsyncIterator[None]:
    pinning: set[asyncio.Task[None]] = set()
    ending = asyncio.Event()  # a model may still load while the loop ends, and what is begun then is never finished

    def settled(entry: ModelEntry) -> None:
        if entry.backend is not None and entry.model is not None and not ending.is_set():
            num_slots = entry.model.stats().num_slots
            task = asyncio.ensure_future(state.tasks.pin(entry.source.name, entry.backend, num_slots))
            pinning.add(task)
            task.add_done_callback(pinning.discard)
        when_settled(entry)

    state.access.start()
    await state.responses.start()
    tasks = TaskSync(state.tasks, app.state.task_editor, state.access.threads)
    classifiers = ClassifierSync(state.tasks)
    looks = (app.state.model_catalog.refresh, app.state.model_pins.refresh, tasks.refresh, classifiers.refresh)
    sync = StoreSync(*looks)
    await sync.start()
    state.models.room.on_unloaded = lambda entry: state.tasks.pins.model_unloaded(entry.source.name)
    state.models.start_loading(settled)
    yield
    ending.set()
    await sync.close()
    for task in pinning:
        task.cancel()
    await asyncio.gather(*pinning, return_exceptions=True)
    await asyncio.to_thread(app.state.chat_renderer.close)
    await asyncio.to_thread(state.models.close)
    await state.responses.close()
    await state.access.close()
