"""Liveness and readiness."""

import asyncio

from tests.unit.server.serving import FakeModel, client_of, run, state_with


def statuses(model: FakeModel, *, wait: bool = True, draining: bool = False) -> tuple[int, int]:
    async def check() -> tuple[int, int]:
        state = state_with(model)
        async with client_of(state, wait=wait) as client:
            state.drain.is_draining = draining
            return (await client.get("/health")).status_code, (await client.get("/ready")).status_code

    return run(check())


def test_a_served_model_is_alive_and_ready() -> None:
    assert statuses(FakeModel()) == (200, 200)


def test_a_loading_model_is_alive_but_not_ready() -> None:
    assert statuses(FakeModel(load_s=0.2), wait=False) == (200, 503)


def test_a_draining_server_is_alive_but_not_ready() -> None:
    assert statuses(FakeModel(), draining=True) == (200, 503)


def test_a_dead_engine_is_neither() -> None:
    model = FakeModel()
    model.statistics.is_alive = False
    assert statuses(model) == (503, 503)


def test_an_engine_that_makes_no_step_is_not_ready() -> None:
    model = FakeModel()
    model.statistics.seconds_since_step = 61
    assert statuses(model) == (200, 503)


def test_a_model_that_failed_to_load_is_neither() -> None:
    assert statuses(FakeModel(load_error=ZeroDivisionError())) == (503, 503)


def test_health_answers_while_every_place_is_taken() -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        async with client_of(state_with(model)) as client:
            waiting = [asyncio.ensure_future(client.post("/models/fake", content="a")) for _ in range(100)]
            while model.num_running < 100:
                await asyncio.sleep(0.005)
            async with asyncio.timeout(0.5):
                assert (await client.get("/health")).status_code == 200
            assert model.gate is not None
            model.gate.set()
            assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 100

    run(check())


def test_models_are_closed_when_the_server_stops() -> None:
    model = FakeModel()
    statuses(model)
    assert model.is_closed


def test_probes_may_leave_the_body_out() -> None:
    async def check() -> list[int]:
        async with client_of(state_with(FakeModel())) as client:
            return [(await client.head(path)).status_code for path in ("/health", "/ready", "/metrics", "/nothing")]

    assert run(check()) == [200, 200, 200, 404]
