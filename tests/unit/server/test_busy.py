"""More clients than places: the first are answered, the rest told at once to come back."""

import asyncio
import json
import time

from tests.unit.server.serving import FakeModel, client_of, run, state_with

BODY = json.dumps({"inputs": "a", "parameters": {"max_new_tokens": 2}}).encode()


def test_of_a_thousand_clients_those_past_the_queue_are_refused_at_once_and_the_others_answered() -> None:
    async def check() -> None:
        model = FakeModel(max_running=24, gate=asyncio.Event())
        assert model.gate is not None
        async with client_of(state_with(model)) as client:
            started = time.perf_counter()
            asked = [asyncio.ensure_future(client.post("/models/fake", content=BODY)) for _ in range(1024)]
            while sum(each.done() for each in asked) < 1000:
                await asyncio.sleep(0.01)
            assert (time.perf_counter() - started) / 1000 < 0.05
            model.gate.set()
            answers = await asyncio.gather(*asked)
        assert sorted(answer.status_code for answer in answers) == [200] * 24 + [429] * 1000
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.headers["retry-after"] for answer in refused} == {"2"}

    run(check())


def test_a_refusal_takes_no_time_while_the_queue_is_full() -> None:
    async def check() -> None:
        model = FakeModel(max_running=8, gate=asyncio.Event())
        assert model.gate is not None
        async with client_of(state_with(model)) as client:
            waiting = [asyncio.ensure_future(client.post("/models/fake", content=BODY)) for _ in range(8)]
            while model.num_running < 8:
                await asyncio.sleep(0.005)
            times_s = []
            for _ in range(20):
                started = time.perf_counter()
                assert (await client.post("/models/fake", content=BODY)).status_code == 429
                times_s.append(time.perf_counter() - started)
            assert sorted(times_s)[10] < 0.05
            model.gate.set()
            assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}

    run(check())
