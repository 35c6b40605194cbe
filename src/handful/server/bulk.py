"""wss /bulk/stream/{cpu|gpu}/{model}: many requests over one connection, each answered as soon as it is ready.

Each message becomes a `POST /models/{model}` of its own (inner_request.py), so it is let in, limited, counted, logged
and answered as one. Nothing is done before the first frame has shown a token that may, where tokens are required.

Bounds: connections of a server, messages of a connection that are worked on at once (past it nothing more is read, so
a sender is slowed down), bytes of a message, and seconds of silence. Leaving gives up what isn't answered.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from handful.errors import HandfulError
from handful.protocol import bulk as wire
from handful.server.inner_request import ask

router = APIRouter(tags=["bulk"])
MAX_CONNECTIONS = 256
MAX_AT_ONCE = 64
FIRST_FRAME_S = 10.0
SILENCE_S = 600.0
_POLICY, _TRY_LATER, _TOO_QUIET = 1008, 1013, 1001


@router.websocket("/bulk/stream/{compute_type}/{name}")
async def bulk(socket: WebSocket, compute_type: str, name: str) -> None:
    """Answer messages until either side ends it."""
    await _serve(socket, compute_type, name)


@router.websocket("/bulk/stream/{compute_type}/{org}/{name}")
async def bulk_with_org(socket: WebSocket, compute_type: str, org: str, name: str) -> None:
    """The same, for a model whose name has an organisation."""
    await _serve(socket, compute_type, f"{org}/{name}")


async def _serve(socket: WebSocket, compute_type: str, name: str) -> None:
    await socket.accept()
    with _counted(socket) as has_room:
        if not has_room:
            return await socket.close(_TRY_LATER, "too many connections")
        try:
            await _Bulk(socket, compute_type, name).serve()
        except WebSocketDisconnect:  # what it had asked is given up by now
            return None
    return None


@contextmanager
def _counted(socket: WebSocket) -> Iterator[bool]:
    """Whether there is room for one connection more; it counts as long as the block runs."""
    state = socket.app.state
    number = getattr(state, "num_bulk_connections", 0)
    state.num_bulk_connections = number + 1
    try:
        yield number < MAX_CONNECTIONS
    finally:
        state.num_bulk_connections -= 1


class _Bulk:
    """One connection."""

    def __init__(self, socket: WebSocket, compute_type: str, name: str) -> None:
        self._socket, self._compute_type, self._name = socket, compute_type, name
        self._token = next((value for key, value in socket.scope["headers"] if key == b"authorization"), None)
        self._at_once = asyncio.Semaphore(MAX_AT_ONCE)
        self._sending = asyncio.Lock()
        self._works: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Let it in, answer its messages, and on the way out give up what isn't answered."""
        try:
            first = await self._receive(FIRST_FRAME_S)
            if first is None:
                return
            token = wire.token_of(first)
            self._token = self._token if token is None else token
            if not await self._is_let_in():
                return
            await self._send(wire.status_frame(f"{self._name} is asked on {self._compute_type}"))
            if token is None:
                await self._begin(first)
            while (frame := await self._receive(SILENCE_S)) is not None:
                await self._begin(frame)
        finally:
            for work in self._works:
                work.cancel()
            if self._works:
                await asyncio.wait(self._works)

    async def _begin(self, frame: bytes) -> None:
        """Work on a message as soon as there is room for it."""
        await self._at_once.acquire()
        work = asyncio.ensure_future(self._answer(frame))
        self._works.add(work)
        work.add_done_callback(self._done)

    def _done(self, work: "asyncio.Task[None]") -> None:
        self._works.discard(work)
        self._at_once.release()
        if not work.cancelled():
            work.exception()  # only a client that has left can't be answered, and that is no failure

    async def _is_let_in(self) -> bool:
        """Whether the model is there for this caller, on this device; says why not, and closes."""
        path = f"/status/{self._name}"
        answer = await ask(self._socket.app, self._socket.scope, "GET", path, b"", self._token)
        if answer.status != 200:
            refusal = wire.answer_frame(None, answer.status, answer.body)
        elif self._compute_type != (there := json.loads(answer.body)["compute_type"]):
            said = f"Model {self._name} runs on {there}. Ask for it below /bulk/stream/{there}/."
            refusal = wire.error_frame(None, 400, said)
        else:
            return True
        await self._send(refusal)
        await self._socket.close(_POLICY)
        return False

    async def _answer(self, frame: bytes) -> None:
        """Answer one message, whatever it is."""
        message_id = None
        try:
            value = wire.object_of(frame)
            message_id = wire.id_of(value.get("id"))
            message = wire.message_of(value)
        except HandfulError as error:
            return await self._send(wire.error_frame(message_id, 400, str(error)))
        path = f"/models/{self._name}"
        answer = await ask(self._socket.app, self._socket.scope, "POST", path, message.body, self._token)
        return await self._send(wire.answer_frame(message_id, answer.status, answer.body))

    async def _send(self, frame: str) -> None:
        async with self._sending:
            await self._socket.send_text(frame)

    async def _receive(self, timeout_s: float) -> bytes | None:
        """The next frame; None after a silence in which nothing was left to answer (the connection is closed then)."""
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    received = await self._socket.receive()
            except TimeoutError:
                if self._works:
                    continue
                await self._socket.close(_TOO_QUIET)
                return None
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received.get("code", 1000))
            text = received.get("text")
            return text.encode() if text is not None else received.get("bytes") or b""
