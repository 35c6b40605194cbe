"""From serving to draining to ended."""

import asyncio
import json

import pytest

from handful.errors import NotReadyError
from handful.server.drain import Drain
from tests.unit.server.serving import FakeModel, client_of, run, state_with, until


def test_an_idle_server_drains_at_once() -> None:
    async def check() -> None:
        drain = Drain()
        async with asyncio.timeout(0.5):
            await drain.run(timeout_s=5)
        assert not drain.has_ended

    run(check())


def test_a_draining_server_accepts_nothing() -> None:
    async def check() -> None:
        drain = Drain()
        await drain.run(timeout_s=1)
        with pytest.raises(NotReadyError):
            drain.enter()

    run(check())


def test_accepted_requests_are_finished_and_new_ones_refused() -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        assert model.gate is not None
        state = state_with(model)
        async with client_of(state) as client:
            accepted = asyncio.ensure_future(client.post("/models/fake", content="a"))
            await until(lambda: model.num_running == 1)
            draining = asyncio.ensure_future(state.drain.run(timeout_s=5))
            await until(lambda: state.drain.is_draining)
            refused = await client.post("/models/fake", content="b")
            assert (refused.status_code, refused.headers["connection"]) == (503, "close")
            assert (await client.get("/health")).status_code == 200
            model.gate.set()
            assert (await accepted).status_code == 200
            await draining

    run(check())


def test_what_is_left_at_the_end_is_told_so() -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        state = state_with(model)
        async with client_of(state) as client:
            accepted = asyncio.ensure_future(client.post("/models/fake", content="a"))
            await until(lambda: model.num_running == 1)
            await state.drain.run(timeout_s=0.05)
            answer = await accepted
            assert (answer.status_code, answer.json()["error_type"]) == (503, "incomplete_generation")
            assert model.num_aborted == 1

    run(check())


def test_a_stream_that_is_left_at_the_end_gets_an_error_event() -> None:
    async def check() -> None:
        state = state_with(FakeModel())
        async with client_of(state) as client:
            content = json.dumps({"inputs": "a", "stream": True, "parameters": {"max_new_tokens": 100_000}})
            accepted = asyncio.ensure_future(client.post("/models/fake", content=content))
            await until(lambda: state.drain.num_accepted == 1)
            await asyncio.sleep(0.05)
            await state.drain.run(timeout_s=0.05)
            events = (await accepted).text.strip().split("\n\n")
            assert [("error" in event) for event in events[-2:]] == [False, True]

    run(check())
