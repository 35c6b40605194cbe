"""Models that leave when another needs their room: which, and what their callers notice."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest

from handful.errors import NotReadyError
from handful.local import LocalModel
from handful.server.auth_state import Access
from handful.server.errors import ForbiddenError
from handful.server.garbage import keep_out
from handful.server.memory_budget import Resident, to_unload
from handful.server.model_entry import ModelSource
from handful.server.registry import ModelRegistry
from handful.server.served_model import ServedModel
from handful.server.state import ServerState
from handful.server.task_registry import ServedTask, TaskRegistry
from handful.store.database import Database
from tests.unit.local.test_local_model import make
from tests.unit.server.serving import SENTIMENT, FakeModel, client_of, run, until

TEXT = {"inputs": "a", "parameters": {"max_new_tokens": 1}}


def resident(name: str, used_at: float, **fields: Any) -> Resident:
    return Resident(name=name, num_bytes=10, used_at=used_at, **fields)


def test_the_least_recently_used_leaves_first() -> None:
    assert to_unload([resident("new", 3), resident("old", 1), resident("middle", 2)], 10, 30) == ["old"]
    assert to_unload([resident("new", 3), resident("old", 1), resident("middle", 2)], 15, 30) == ["old", "middle"]


def test_an_idle_one_leaves_before_a_busy_one() -> None:
    assert to_unload([resident("busy", 1, is_busy=True), resident("idle", 2)], 10, 20) == ["idle"]


def test_a_pinned_one_stays_and_is_no_room() -> None:
    assert to_unload([resident("pinned", 1, is_pinned=True), resident("other", 2)], 10, 20) == ["other"]
    assert to_unload([resident("pinned", 1, is_pinned=True), resident("other", 2)], 20, 20) is None


def test_nothing_leaves_where_there_is_room_or_no_budget() -> None:
    assert to_unload([resident("a", 1)], 10, 20) == []
    assert to_unload([resident("a", 1)], 10**12, 0) == []


class Zoo:
    """Models a, b, c of ten bytes, with room for two."""

    def __init__(self, budget_bytes: int = 20, database: Database | None = None, **gates: asyncio.Event) -> None:
        self.loaded: list[str] = []
        self.made: dict[str, list[FakeModel]] = {"a": [], "b": [], "c": []}
        self.gates = gates
        sources = [ModelSource(name, self._loader(name), 10) for name in self.made]
        self.models = ModelRegistry(sources, budget_bytes=budget_bytes)
        access = Access() if database is None else Access.over(database, tokens_required=False)
        tasks = TaskRegistry([ServedTask(SENTIMENT, "a")])
        self.state = ServerState(models=self.models, tasks=tasks, access=access)

    def _loader(self, name: str) -> Callable[[], FakeModel]:
        def load() -> FakeModel:
            self.loaded.append(name)
            self.made[name].append(FakeModel(gate=self.gates.get(name)))
            return self.made[name][-1]

        return load


async def started(zoo: Zoo) -> None:
    await until(lambda: "loading" not in zoo.models.states().values())


async def ask(client: Any, name: str) -> int:
    status: int = (await client.post(f"/models/{name}", json=TEXT, headers={"x-wait-for-model": "true"})).status_code
    return status


def test_at_the_start_as_many_are_loaded_as_fit() -> None:
    async def check() -> None:
        zoo = Zoo()
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            assert zoo.models.states() == {"a": "ready", "b": "ready", "c": "unloaded"}
            assert (await client.get("/ready")).status_code == 200

    run(check())


def test_one_that_is_asked_comes_in_and_the_least_recently_used_leaves() -> None:
    async def check() -> None:
        zoo = Zoo()
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            assert [await ask(client, name) for name in ("a", "c", "a", "b")] == [200] * 4
            assert zoo.loaded == ["a", "b", "c", "b"]
            assert zoo.models.states() == {"a": "ready", "b": "ready", "c": "unloaded"}
            await until(lambda: zoo.made["b"][0].is_closed and zoo.made["c"][0].is_closed)
            assert not zoo.made["a"][0].is_closed

    run(check())


def test_who_doesnt_wait_is_told_how_long_it_may_take() -> None:
    async def check() -> None:
        zoo = Zoo()
        async with client_of(zoo.state, wait=False):
            await started(zoo)
            with pytest.raises(NotReadyError) as told:
                await zoo.models.backend("c", wait_s=0)
            assert told.value.estimated_time_s > 0
            await zoo.models.backend("c", wait_s=5)

    run(check())


def test_what_a_leaving_model_computes_is_finished_first() -> None:
    async def check() -> None:
        gate = asyncio.Event()
        zoo = Zoo(b=gate)
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            running = asyncio.ensure_future(ask(client, "b"))
            await until(lambda: zoo.made["b"][0].num_running == 1)
            zoo.made["b"][0].statistics.num_running = 1
            await ask(client, "a")
            coming = asyncio.ensure_future(ask(client, "c"))
            await until(lambda: zoo.models.states()["a"] == "unloaded")  # the idle one left, though it was asked later
            gate.set()
            assert (await running, await coming) == (200, 200)

    run(check())


def test_a_task_is_pinned_again_when_its_model_comes_back() -> None:
    async def check() -> None:
        zoo = Zoo()
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            await until(lambda: zoo.made["a"][0].pinned)
            assert [await ask(client, name) for name in ("b", "c")] == [200, 200]
            assert zoo.models.states()["a"] == "unloaded"
            answer = await client.post("/tasks/sentiment", json={"inputs": "a"}, headers={"x-wait-for-model": "true"})
            assert answer.status_code == 200
            await until(lambda: zoo.made["a"][1].pinned)

    run(check())


def test_nothing_holds_a_model_that_has_left() -> None:
    async def check() -> None:
        zoo = Zoo()
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            await until(lambda: zoo.made["a"][0].pinned)
            left = weakref.ref(zoo.made["a"].pop())
            assert [await ask(client, name) for name in ("b", "c")] == [200, 200]

            def is_gone() -> bool:
                gc.collect()
                return left() is None

            await until(is_gone)

    run(check())


def test_one_that_could_never_fit_is_refused_for_good() -> None:
    async def check() -> None:
        zoo = Zoo(budget_bytes=9)
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            with pytest.raises(ForbiddenError, match="too large"):
                await zoo.models.backend("a")
            assert await ask(client, "a") == 403
            assert zoo.loaded == []

    run(check())


def test_without_a_budget_all_are_loaded() -> None:
    async def check() -> None:
        zoo = Zoo(budget_bytes=0)
        async with client_of(zoo.state):
            assert set(zoo.models.states().values()) == {"ready"}

    run(check())


def test_room_for_keys_and_values_counts_before_a_model_has_loaded() -> None:
    async def check() -> None:
        sizes = {"a": (4, 6), "b": (4, 6), "c": (4, 0)}
        sources = [ModelSource(name, FakeModel().load, *size) for name, size in sizes.items()]
        models = ModelRegistry(sources, budget_bytes=18)
        async with client_of(ServerState(models=models, tasks=TaskRegistry()), wait=False):
            await until(lambda: "loading" not in models.states().values())
            assert models.states() == {"a": "ready", "b": "unloaded", "c": "ready"}

    run(check())


def test_what_a_loaded_model_may_take_is_its_weights_with_keys_and_values() -> None:
    model = make()
    assert model.num_bytes > model.info.weight_bytes
    assert (model.num_bytes - model.info.weight_bytes) % model.stats().num_slots == 0
    model.close()


def test_a_real_models_memory_is_given_back() -> None:
    async def check() -> None:
        sources = [ModelSource(name, lambda: cast(ServedModel, make()), 10) for name in ("a", "b")]
        models = ModelRegistry(sources, budget_bytes=20)
        async with client_of(ServerState(models=models, tasks=TaskRegistry()), wait=False) as client:
            await until(lambda: models.states()["a"] == "ready")
            keep_out()  # as a server does when a model has loaded
            left = weakref.ref(cast(LocalModel, models.entry("a").model).loop)
            assert await ask(client, "a") == 200
            assert await ask(client, "b") == 200
            await until(lambda: models.states() == {"a": "unloaded", "b": "ready"})

            def is_gone() -> bool:
                gc.collect()
                return left() is None

            await until(is_gone)
            assert await ask(client, "a") == 200

    make().close()  # the first takes its time: it writes the checkpoint
    run(check())
