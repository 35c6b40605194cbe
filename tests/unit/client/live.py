"""A server in a thread of this process, over models that are loaded already."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn

from handful.local import LocalModel
from handful.server.app import create_app
from handful.server.model_entry import ModelSource
from handful.server.registry import ModelRegistry
from handful.server.state import ServerState
from handful.server.task_registry import ServedTask, TaskRegistry


class _Kept:
    """A model that the server doesn't close: the tests go on with it."""

    def __init__(self, model: LocalModel) -> None:
        self.info, self.stats, self.asynchronous = model.info, model.stats, model.asynchronous
        self.num_bytes = model.num_bytes

    def close(self, timeout_s: float | None = None) -> None:
        pass


@contextmanager
def live(models: Mapping[str, LocalModel], *tasks: ServedTask, **fields: object) -> Iterator[str]:
    """The URL of a server with these models, by their names, on a free port."""
    sources = [ModelSource(name, lambda model=model: _Kept(model)) for name, model in models.items()]  # type: ignore[misc]
    state = ServerState(models=ModelRegistry(sources), tasks=TaskRegistry(tasks), **fields)  # type: ignore[arg-type]
    config = uvicorn.Config(create_app(state), port=0, ws="none", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
