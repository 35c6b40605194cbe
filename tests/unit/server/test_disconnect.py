"""A client that leaves: whatever it waited for is given up. Driven at the ASGI level, where leaving can be timed."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message

from handful.server.app import create_app
from tests.unit.server.serving import SENTIMENT, FakeModel, run, state_with, until


def body(stream: bool, inputs: object = "a") -> bytes:
    return json.dumps({"inputs": inputs, "parameters": {"max_new_tokens": 1000}, "stream": stream}).encode()


class Connection:
    """One request on a connection that the test can close."""

    def __init__(self, path: str, content: bytes) -> None:
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self._incoming: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
        self._left = asyncio.Event()
        self.sent: list[Message] = []

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> Message:
        if self._incoming:
            return self._incoming.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)


async def served(model: FakeModel, connection: Connection, leave_when: Any) -> None:
    app = create_app(state_with(model, SENTIMENT))
    async with app.router.lifespan_context(app):
        handled = asyncio.ensure_future(app(connection.scope, connection.receive, connection.send))
        await until(lambda: leave_when() or handled.done())
        connection.leave()
        await handled


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_while_queued_aborts_the_request(stream: bool) -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        await served(model, Connection("/models/fake", body(stream)), lambda: model.num_running == 1)
        assert (model.num_running, model.num_aborted) == (0, 1)

    run(check())


def test_leaving_in_the_middle_of_a_stream_aborts_the_request() -> None:
    async def check() -> None:
        model = FakeModel()
        connection = Connection("/models/fake", body(stream=True))
        await served(model, connection, lambda: len(connection.sent) > 3)
        assert (model.num_running, model.num_aborted) == (0, 1)
        assert len(connection.sent) < 1000

    run(check())


def test_leaving_aborts_every_input_of_a_request() -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        await served(model, Connection("/models/fake", body(False, ["a"] * 5)), lambda: model.num_running == 5)
        assert (model.num_running, model.num_aborted) == (0, 5)

    run(check())


def test_leaving_a_task_aborts_its_request() -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        await served(model, Connection("/tasks/sentiment", b'{"inputs": "a"}'), lambda: model.num_running == 1)
        assert (model.num_running, model.num_aborted) == (0, 1)

    run(check())


def test_leaving_does_not_touch_the_others() -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        assert model.gate is not None
        app = create_app(state_with(model))
        async with app.router.lifespan_context(app):
            stays, goes = Connection("/models/fake", body(False)), Connection("/models/fake", body(False))
            handled = [asyncio.ensure_future(app(each.scope, each.receive, each.send)) for each in (stays, goes)]
            await until(lambda: model.num_running == 2)
            goes.leave()
            await handled[1]
            model.gate.set()
            await handled[0]
        assert (stays.sent[0]["status"], model.num_aborted) == (200, 1)

    run(check())


def test_a_slow_reader_holds_its_own_stream_back() -> None:
    """`send` blocks as uvicorn's does while its write buffer is full; the generator must not run ahead of it."""

    async def check() -> None:
        model, drained = FakeModel(), asyncio.Event()
        connection = Connection("/models/fake", body(stream=True))
        taken: list[Message] = []

        async def slow_send(message: Message) -> None:
            taken.append(message)
            if len(taken) == 3:
                await drained.wait()

        app = create_app(state_with(model))
        async with app.router.lifespan_context(app):
            handled = asyncio.ensure_future(app(connection.scope, connection.receive, slow_send))
            await until(lambda: len(taken) == 3)
            await asyncio.sleep(0.05)
            assert len(taken) == 3
            connection.leave()
            await handled
        assert model.num_aborted == 1

    run(check())
