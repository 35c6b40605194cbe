"""Models that are loaded when they are first asked."""

import asyncio
import json
import logging
import threading
from typing import Any

import pytest

from handful.errors import CheckpointError
from handful.server import registry
from handful.server.limits import Limits
from tests.unit.server.nlp_serving import FakeNlp, ask_nlp, nlp_state
from tests.unit.server.serving import client_of, run, until

BODY = {"inputs": "a text"}


class HeldNlp(FakeNlp):
    """One whose loading takes until `may_load` is set."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.may_load = threading.Event()

    def load(self) -> Any:
        self.may_load.wait(10)
        return super().load()


def test_it_is_unloaded_until_it_is_asked_and_the_server_is_ready_all_the_same() -> None:
    async def check() -> None:
        model = FakeNlp()
        state = nlp_state(model)
        async with client_of(state, wait=False) as client:
            await until(lambda: state.models.states()["fake"] == state.models.states()["late"] == "ready")
            ready = await client.get("/ready")
            assert ready.status_code == 200
            assert ready.json()["models"]["nlp"] == "unloaded"
            assert (await client.get("/health")).status_code == 200
            assert model.num_loads == 1  # `late`, of which nobody knows what it is for before it has loaded
            answer = await client.post("/models/nlp", json=BODY, headers={"x-wait-for-model": "true"})
            assert answer.status_code == 200
            assert state.models.states()["nlp"] == "ready"
            assert state.models.states()["org/nlp"] == "unloaded"

    run(check())


def test_while_it_loads_it_is_503_with_the_time_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "HELD_NOT_READY_S", 0.01)

    async def check() -> None:
        model = HeldNlp()
        async with client_of(nlp_state(model), wait=False) as client:
            answers = [await client.post("/models/nlp", json=BODY) for _ in range(2)]
            model.may_load.set()
            for answer in answers:
                assert answer.status_code == 503
                assert answer.json()["error"] == "Model nlp is currently loading"
                assert 0 < answer.json()["estimated_time"] < 60
                assert int(answer.headers["retry-after"]) >= answer.json()["estimated_time"] - 1
            waited = await client.post("/models/nlp", json=BODY | {"options": {"wait_for_model": True}})
            assert waited.status_code == 200
            assert model.num_loads <= 2  # once for `nlp`, once for `late`

    run(check())


@pytest.mark.parametrize("way", [{"options": {"dont_load_model": True}}, {"x-load-model": "0"}])
def test_who_does_not_want_it_loaded_is_told_so(way: dict[str, Any]) -> None:
    async def check() -> None:
        state = nlp_state(FakeNlp())
        async with client_of(state, wait=False) as client:
            is_option = "options" in way
            body, headers = (BODY | way, {}) if is_option else (BODY, way)
            answer = await client.post("/models/nlp", json=body, headers=headers)
            assert answer.status_code == 503
            assert answer.json()["error"] == "Model nlp is not loaded"
            assert state.models.states()["nlp"] == "unloaded"

    run(check())


def test_one_that_can_not_be_loaded_is_told_and_logged_and_tried_again_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "handful.server")

    async def check() -> None:
        model = FakeNlp(load_error=CheckpointError("Its weights are damaged."))
        state = nlp_state(model)
        async with client_of(state, wait=False) as client:
            await until(lambda: state.models.states()["late"] == "failed")
            before = model.num_loads
            answers = [await client.post("/models/nlp", json=BODY) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [500, 500]
            assert "could not be loaded" in answers[0].json()["error"]
            assert model.num_loads == before + 1
            assert state.models.states()["nlp"] == "unloaded"
            model.load_error = None
            state.models.entry("nlp").retry_at = 0.0
            assert (await client.post("/models/nlp", json=BODY)).status_code == 200

    run(check())
    said = [json.loads(record.message) for record in caplog.records if "not loaded" in record.message]
    assert said == [{"event": "model not loaded", "model": "nlp", "problem": "Its weights are damaged."}]


def test_models_are_loaded_one_after_the_other() -> None:
    running, most = [0], [0]

    class Watched(FakeNlp):
        def load(self) -> Any:
            running[0] += 1
            most[0] = max(most[0], running[0])
            made = super().load()
            running[0] -= 1
            return made

    async def check() -> None:
        async with client_of(nlp_state(Watched(load_s=0.02)), wait=False) as client:
            asked = [client.post(f"/models/{name}", json=BODY) for name in ("nlp", "org/nlp", "late")]
            answers = await asyncio.gather(*asked)
            assert {answer.status_code for answer in answers} == {200}

    run(check())
    assert most == [1]


def test_stopping_frees_what_was_loaded() -> None:
    model = FakeNlp()
    assert ask_nlp(model, "/models/nlp", BODY).status_code == 200
    assert model.is_closed


def test_a_batch_that_takes_too_long_does_not_hold_up_the_end() -> None:
    async def check() -> bool:
        model = FakeNlp(gate=threading.Event())
        state = nlp_state(model, limits=Limits(request_timeout_s=0.2))
        async with client_of(state, wait=False) as client:
            late = await client.post("/models/nlp", json=BODY, headers={"x-wait-for-model": "1"})
            assert late.status_code == 504
        assert model.gate is not None
        model.gate.set()
        return state.models.was_abandoned

    assert run(check())


def test_a_full_queue_is_429() -> None:
    async def check() -> None:
        model = FakeNlp(gate=threading.Event())
        state = nlp_state(model)
        async with client_of(state, wait=False) as client:
            headers = {"x-wait-for-model": "1", "x-use-cache": "0"}
            asked = [
                asyncio.ensure_future(client.post("/models/nlp", json={"inputs": ["a"] * 8}, headers=headers))
                for _ in range(4)
            ]
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            refused = done.pop().result()
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            assert model.gate is not None
            model.gate.set()
            statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
            assert 200 in statuses

    run(check())


def test_health_and_other_models_answer_while_one_computes() -> None:
    async def check() -> None:
        model = FakeNlp(gate=threading.Event())
        state = nlp_state(model)
        async with client_of(state, wait=False) as client:
            busy = asyncio.ensure_future(client.post("/models/nlp", json=BODY, headers={"x-wait-for-model": "1"}))
            await until(lambda: state.models.entry("nlp").model is not None)
            assert (await client.get("/health")).status_code == 200
            text = await client.post("/models/fake", json={"inputs": "a"})
            assert text.status_code == 200
            assert not busy.done()
            assert model.gate is not None
            model.gate.set()
            assert (await busy).status_code == 200

    run(check())
