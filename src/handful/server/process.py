"""A server as a process: its socket, its signals, its end.

SIGTERM (and Ctrl-C): readiness turns 503, new requests are refused with 503, accepted ones are finished for up to the
drain timeout, what is left then ends with an error, and the process exits 0. A second signal ends it at once. uvicorn
by itself would close the port at the first signal and die of it, so its signal handler is replaced here. A process
whose engine has died ends with an error: whatever started it can start it again.
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from handful.errors import EngineError, HandfulError, UserError
from handful.server.app import create_app
from handful.server.connection import fastest_protocol
from handful.server.garbage import keep_out
from handful.server.log_handler import TurnHandler
from handful.server.model_entry import ModelEntry
from handful.server.state import ServerState

_IDLE_SECONDS = 75
"""Longer than clients keep an idle connection themselves (httpx 5, aiohttp 15 seconds): where both take as long, one
closes it while the other sends, and a request gets no answer."""
_LAST_SECONDS = 5
_AGAIN = "Start the server again."
_BACKLOG = 1024
_TICKS_BETWEEN_CHECKS = 5
_LAST_WORDS_S = 0.5  # after a second signal
_SWITCH_INTERVAL_S = 0.0002
"""How long the event loop may keep the interpreter's lock when an engine waits for it, which lets it go at each call of
a kernel and needs it back for the next, hundreds of times a step. Python's own 5 ms would let an engine stand still as
long as anything is parsed or written; 0.1 ms costs the event loop 5%, this nothing that could be measured."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises UserError where the address can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            fix = "Stop what listens there, or choose another with --port (0 finds a free one)."
            raise UserError(f"Port {port} on {host} is in use.", fix=fix) from None
        reason = error.strerror or str(error)
        raise UserError(
            f"Can't listen on {host} port {port}: {reason}.", fix="Choose another --host or --port."
        ) from None


def url_of(listening: socket.socket) -> str:
    """The address that a socket listens on, as a URL for someone on this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - the wildcard is replaced, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def log_to_stderr() -> None:
    """Send handful's log lines to stderr, as they are; of uvicorn's, warnings only."""
    handler = TurnHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name, level in (("handful", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)


class DrainingServer(uvicorn.Server):
    """uvicorn with a drain in front of its shutdown."""

    def __init__(self, app: FastAPI, state: ServerState, has_died: Callable[[], bool]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=fastest_protocol(),
                loop="auto",  # uvloop, where it is installed
                ws="websockets-sansio",
                ws_max_size=state.limits.max_body_bytes,
                ws_per_message_deflate=False,  # a small frame must not unfold into a large one
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=_LAST_SECONDS,
            )
        )
        self._drain, self._drain_timeout_s = state.drain, state.limits.drain_timeout_s
        self._has_died = has_died
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self._num_signals = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remember the loop, which the signal handler must wake."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop."""
        return await super().on_tick(counter) or (counter % _TICKS_BETWEEN_CHECKS == 0 and self._has_died())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn calls it so
        """The first signal starts the drain; the second ends it, and the process; the third waits for nobody."""
        self._num_signals += 1
        if self._num_signals > 2 or self._loop is None:
            self._exit_at_once()
        elif self._num_signals == 2:
            self._loop.call_soon_threadsafe(self._cut_drain_short)
        else:
            self._loop.call_soon_threadsafe(self._start_drain)
            with contextlib.suppress(OSError):  # whoever read what it says may have left (`handful serve 2>&1 | head`)
                print(
                    f"{signal.Signals(sig).name}: finishing what was accepted; again to stop at once", file=sys.stderr
                )

    def _start_drain(self) -> None:
        self._draining = asyncio.ensure_future(self._drain_then_exit())

    def _cut_drain_short(self) -> None:
        if self._draining is not None:
            self._draining.cancel()
        self._draining = asyncio.ensure_future(self._end_then_exit())

    async def _drain_then_exit(self) -> None:
        await self._drain.run(self._drain_timeout_s)
        self.should_exit = True

    async def _end_then_exit(self) -> None:
        await self._drain.end(_LAST_WORDS_S)
        self._exit_at_once()

    def _exit_at_once(self) -> None:
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it would tell how its own task was cancelled
        self.should_exit = self.force_exit = True


def serve(state: ServerState, listening: socket.socket, when_ready: Callable[[ModelEntry], None]) -> None:
    """Serve until a signal ends it. `when_ready` is called for each model that has loaded.

    Raises what kept a model from loading, or EngineError when an engine died: a server that can't do all it was asked
    for stops.
    """
    failures: list[HandfulError] = []

    def when_settled(entry: ModelEntry) -> None:
        if entry.failure is None:
            keep_out()
            with contextlib.suppress(OSError):  # see `handle_exit`
                when_ready(entry)
            return
        failures.append(entry.failure)
        server.should_exit = True

    def has_died() -> bool:
        dead = [name for name, found in state.models.all_states().items() if found == "dead"]
        failures.extend(EngineError(f"The engine of {name} died; the log says why.", fix=_AGAIN) for name in dead)
        return bool(dead)

    server = DrainingServer(create_app(state, when_settled), state, has_died)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    server.run(sockets=[listening])
    if failures:
        raise failures[0]
    if state.models.was_abandoned or server.force_exit:
        # A thread that loads can't be told to stop, and an engine wasn't told: torch aborts the process where one still
        # runs at its end.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        logging.shutdown()  # lines of the last turn
        os._exit(0)
