"""Clients that ask for a lot and read nothing of it, over real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import httpx
from starlette.types import ASGIApp

from handful.server.app import create_app
from handful.server.process import DrainingServer, bind, url_of
from handful.types import Completion, Generation, GenerationParameters, Prompt, StreamEvent, Token
from tests.unit.server.serving import FakeModel, run, state_with

NUM_READERS = 50
PIECE = "x" * 10_000
BODY = json.dumps({"inputs": "a", "parameters": {"max_new_tokens": 100_000}, "stream": True}).encode()


class Chatty(FakeModel):
    """Writes without end and without waiting, and counts what it wrote."""

    num_written = 0

    async def stream(self, prompt: Prompt, parameters: GenerationParameters) -> AsyncIterator[StreamEvent]:
        for _ in range(parameters.max_new_tokens):
            self.num_written += 1
            yield StreamEvent(PIECE, Token(1, PIECE, -1.0))
            await asyncio.sleep(0)
        yield StreamEvent("", None, Generation((Completion("", "length"),), 1))


def test_those_who_read_nothing_hold_themselves_back_and_nobody_else() -> None:
    """What the server has written for them is what the sockets' buffers hold, and it grows no further."""

    async def check() -> None:
        model = Chatty()
        state = state_with(model)
        app: ASGIApp = create_app(state)
        listening = bind("127.0.0.1", 0)
        server = DrainingServer(app, state, lambda: False)  # type: ignore[arg-type]
        serving = asyncio.ensure_future(server._serve([listening]))
        readers = [socket.socket() for _ in range(NUM_READERS)]
        async with httpx.AsyncClient(base_url=url_of(listening)) as client:
            while (await client.get("/ready")).status_code != 200:
                await asyncio.sleep(0.01)
            for reader in readers:
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                reader.connect(listening.getsockname())
                reader.sendall(_request())
            written = await _settled(model)
            assert NUM_READERS <= written < NUM_READERS * 1000  # of 5,000,000 that were asked for
            answer = await client.post("/models/fake", json={"inputs": "a", "parameters": {"max_new_tokens": 1}})
            assert answer.json() == [{"generated_text": "a w1"}]
            assert model.num_written == written
        for reader in readers:
            reader.close()
        server.should_exit = True
        await serving

    run(check())


def _request() -> bytes:
    head = f"POST /models/fake HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(BODY)}\r\n\r\n"
    return head.encode() + BODY


async def _settled(model: Chatty) -> int:
    """How much was written by the time that nothing more is."""
    before = -1
    while model.num_written != before or not before:
        before = model.num_written
        await asyncio.sleep(0.3)
    return before
