"""What the server says of its models, and the models that are told to stay."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from handful.server import store_sync
from handful.server.model_entry import ModelEntry, ModelSource
from handful.server.registry import ModelRegistry
from handful.store.database import Database
from handful.store.pins import PinStore
from handful.store.tables import pinned_models
from tests.unit.server.serving import FakeModel, client_of, run, state_with, until
from tests.unit.server.test_memory_budget import Zoo, ask, started
from tests.unit.server.with_access import opened, state_over


def asked(zoo: Zoo, *requests: tuple[str, Any]) -> list[httpx.Response]:
    """GETs (None) and POSTs of bodies, one after the other, once the server has started."""

    async def send() -> list[httpx.Response]:
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            found = []
            for path, body in requests:
                found.append(await (client.get(path) if body is None else client.post(path, content=json.dumps(body))))
            return found

    return run(send())


def pins(*names: str, **fields: Any) -> dict[str, Any]:
    return {"pinned_models": [{"model_id": name} | fields for name in names]}


def test_a_status_is_as_the_hubs_client_reads_it() -> None:
    ready, idle = asked(Zoo(), ("/status/a", None), ("/status/c", None))
    wanted = {"loaded": True, "state": "Loaded", "compute_type": "cpu", "framework": "handful"}
    assert wanted.items() <= ready.json().items()
    assert (idle.json()["loaded"], idle.json()["state"], idle.json()["status"]) == (False, "Loadable", "unloaded")
    assert idle.json()["framework"] == "handful"


def test_asking_for_a_status_loads_nothing() -> None:
    zoo = Zoo()
    asked(zoo, ("/status/c", None), ("/status/c", None))
    assert zoo.loaded == ["a", "b"]


def test_one_that_could_never_fit_is_too_big() -> None:
    (answer,) = asked(Zoo(budget_bytes=9), ("/status/a", None))
    assert answer.json()["state"] == "TooBig"


def test_an_unknown_model_has_no_status() -> None:
    answers = asked(Zoo(), ("/status/nope", None), ("/status/org/nope", None))
    assert [answer.status_code for answer in answers] == [404, 404]


def test_a_model_on_its_way_says_how_long_and_how_much_is_there() -> None:
    async def check() -> None:
        zoo = Zoo()
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            entry = zoo.models.entry("c")
            entry.started_at, entry.settled = 0.0, asyncio.Event()
            entry.note_download(30, 100)
            said = (await client.get("/status/c")).json()
            assert said["status"] == "loading"
            assert said["estimated_time"] > 0
            assert said["download"] == {"bytes": 30, "of": 100}

    run(check())


def test_a_download_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    entry = ModelEntry(ModelSource("m", FakeModel().load))
    with caplog.at_level("INFO", "handful.server"):
        for num_done in range(1001):
            entry.note_download(num_done, 1000)
    said = [json.loads(record.message) for record in caplog.records]
    assert len(said) == 21
    assert said[-1] == {"event": "downloading", "model": "m", "bytes": 1000, "of": 1000}


def test_pinned_models_are_listed_and_replaced() -> None:
    first, second, listed = asked(
        Zoo(),
        ("/usage/pinned_models", pins("a")),
        ("/usage/pinned_models", pins("b", compute_type="cpu", replicas=1)),
        ("/usage/pinned_models", None),
    )
    assert first.json()["ok"].startswith("Pinned 1 models")
    assert second.json()["pinned_models"] == [{"model_id": "b", "compute_type": "cpu", "replicas": 1}]
    assert listed.json() == {"pinned_models": second.json()["pinned_models"], "allowed_pinned_models": 3}


def test_a_pinned_model_stays_whoever_needs_room() -> None:
    async def check() -> None:
        zoo = Zoo()
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            await client.post("/usage/pinned_models", json=pins("a"))
            assert [await ask(client, name) for name in ("b", "c", "b", "c")] == [200] * 4
            assert zoo.models.states()["a"] == "ready"
            assert zoo.loaded.count("a") == 1

    run(check())


def test_a_model_that_is_pinned_is_loaded() -> None:
    async def check() -> None:
        zoo = Zoo()
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            await client.post("/usage/pinned_models", json=pins("c"))
            await until(lambda: zoo.models.states()["c"] == "ready")

    run(check())


def test_where_pinned_models_leave_no_room_others_are_refused() -> None:
    async def check() -> None:
        zoo = Zoo()
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            await client.post("/usage/pinned_models", json=pins("a", "b"))
            refused = await client.post("/models/c", json={"inputs": "a"})
            assert refused.status_code == 403
            assert "pinned" in refused.text

    run(check())


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (pins("nope"), 404, "nope"),
        (pins("a", compute_type="gpu"), 400, "compute_type"),
        (pins("a", replicas=2), 400, "replicas"),
        (pins("a", "b", "c"), 403, "together"),
        ({"pinned_models": "a"}, 400, "pinned_models"),
        ({}, 400, "pinned_models"),
        (pins("a", color="red"), 400, "color"),
    ],
)
def test_what_cant_be_pinned_is_told_and_changes_nothing(body: Any, status: int, said: str) -> None:
    _, refused, listed = asked(
        Zoo(), ("/usage/pinned_models", pins("b")), ("/usage/pinned_models", body), ("/usage/pinned_models", None)
    )
    assert refused.status_code == status
    assert said in refused.text
    assert [each["model_id"] for each in listed.json()["pinned_models"]] == ["b"]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


def test_pinned_models_survive_a_restart_and_have_their_room_first(database: Database) -> None:
    async def check() -> None:
        async with client_of(Zoo(database=database).state, wait=False) as client:
            assert (await client.post("/usage/pinned_models", json=pins("c"))).status_code == 200
        zoo = Zoo(database=database)
        async with client_of(zoo.state, wait=False) as client:
            await started(zoo)
            assert zoo.models.states() == {"a": "ready", "b": "unloaded", "c": "ready"}
            assert [await ask(client, name) for name in ("b", "a", "b")] == [200] * 3
            assert zoo.models.states()["c"] == "ready"
            assert zoo.loaded.count("c") == 1

    run(check())


def test_a_lazy_model_that_was_pinned_is_loaded_at_the_start(database: Database) -> None:
    async def check() -> None:
        PinStore(database).replace(["fake"], [])
        models = ModelRegistry([ModelSource("fake", FakeModel().load, is_lazy=True)])
        async with client_of(state_over(database, required=False, models=models), wait=False):
            await until(lambda: models.states()["fake"] == "ready")

    run(check())


def test_servers_on_a_database_pin_the_same(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_sync, "REFRESH_S", 0.02)

    async def check() -> None:
        one, other = Zoo(database=database), Zoo(database=database)
        async with client_of(one.state, wait=False) as client, client_of(other.state, wait=False):
            await started(other)
            await client.post("/usage/pinned_models", json=pins("c"))
            await until(lambda: other.models.states()["c"] == "ready" and other.models.entry("c").is_pinned)
            await client.post("/usage/pinned_models", json=pins())
            await until(lambda: not other.models.entry("c").is_pinned)

    run(check())


def test_pins_that_no_longer_fit_are_left_out_and_the_log_says_so(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        PinStore(database).replace(["a", "b", "nowhere"], [])
        zoo = Zoo(budget_bytes=10, database=database)
        async with client_of(zoo.state, wait=False):
            await started(zoo)
            assert [entry.is_pinned for entry in map(zoo.models.entry, "abc")] == [True, False, False]
        assert PinStore(database).all() == {"a", "b", "nowhere"}

    run(check())
    assert caplog.text.count("no room for pinned models") == 1


def test_pins_that_can_not_be_written_are_refused(database: Database) -> None:
    async def check() -> None:
        zoo = Zoo(database=database)
        async with client_of(zoo.state, wait=False) as client:
            with database.writing() as connection:
                pinned_models.drop(connection)
            assert (await client.post("/usage/pinned_models", json=pins("a"))).status_code == 503
            assert not zoo.models.entry("a").is_pinned

    run(check())


def test_without_a_budget_pinning_is_allowed_and_says_so() -> None:
    async def check() -> None:
        async with client_of(state_with(FakeModel())) as client:
            told = (await client.post("/usage/pinned_models", json=pins("fake", "org/fake"))).json()
            assert [each["model_id"] for each in told["pinned_models"]] == ["fake", "org/fake"]

    run(check())
