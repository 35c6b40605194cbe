"""The app factory: what a request passes, from the outside in, and which file answers it.

AccessLog    an id, one log line, the last catch       access_log.py
HostGuard    Host and Origin                           host_guard.py
DrainGate    refuses what comes after SIGTERM          drain.py
routes       models.py, tasks.py, health.py
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from handful.server import health, models, tasks
from handful.server.access_log import AccessLog
from handful.server.drain import DrainGate
from handful.server.errors import install_error_handlers
from handful.server.host_guard import HostGuard
from handful.server.registry import ModelEntry
from handful.server.state import ServerState


def create_app(state: ServerState, when_settled: Callable[[ModelEntry], None] = lambda _: None) -> FastAPI:
    """The HTTP app of a server. Models load in the background once it starts, and are freed when it stops.

    `when_settled` is called in the event loop for each model that is ready or failed to load.
    """
    app = FastAPI(
        title="handful",
        version=version("handful"),
        summary="Few-shot predictions from a language model on your own machine.",
        docs_url=None,  # the page would load its script from another site
        redoc_url=None,
        lifespan=lambda _: _lifespan(state, when_settled),
    )
    app.state.server = state
    app.include_router(health.router)
    app.include_router(tasks.router)
    app.include_router(models.router)
    install_error_handlers(app)
    app.add_middleware(DrainGate, drain=state.drain)  # what is added last is passed first
    app.add_middleware(HostGuard, allowed=state.allowed_hosts)
    app.add_middleware(AccessLog)
    return app


@asynccontextmanager
async def _lifespan(state: ServerState, when_settled: Callable[[ModelEntry], None]) -> AsyncIterator[None]:
    pinning: set[asyncio.Task[None]] = set()

    def settled(entry: ModelEntry) -> None:
        if entry.backend is not None:
            task = asyncio.ensure_future(state.tasks.pin(entry.source.name, entry.backend))
            pinning.add(task)
            task.add_done_callback(pinning.discard)
        when_settled(entry)

    state.models.start_loading(settled)
    yield
    for task in pinning:
        task.cancel()
    await asyncio.gather(*pinning, return_exceptions=True)
    await asyncio.to_thread(state.models.close)
