"""Models that accounts bring themselves: by Hub id, by path, by upload; seen by whom they should be seen."""

import asyncio
import gc
import json
import os
import time
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import constants

from handful.engine.loop import EngineLoop
from handful.server import store_sync
from handful.server.garbage import keep_out
from handful.server.model_host import ModelHost, load_registered
from handful.server.nlp_sources import purpose_of
from handful.store.accounts import Accounts
from handful.store.database import Database
from handful.store.models import ModelStore, NewModel
from handful.store.tables import metadata
from handful.types import Precision
from tests.unit.model.fake_hub import FakeHub, running_hub
from tests.unit.model.tiny_models import checkpoint
from tests.unit.pipelines.tiny_nlp import checkpoint as encoder
from tests.unit.server.serving import client_of, until
from tests.unit.server.with_access import bearer, opened, state_over

BODY = {"inputs": "the", "parameters": {"max_new_tokens": 2}, "options": {"wait_for_model": True}}
HUB_TOKEN = "hf_" + "adasownsecret" * 2


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        for name in ("ada", "bob"):
            Accounts(there).create(name)
        yield there


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running_hub() as hub:
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "servers-own-cache"))
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        monkeypatch.setenv("HF_TOKEN", "hf_theserversown")
        yield hub


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test for at most two minutes: loading its first model may take long on a busy machine."""
    asyncio.run(asyncio.wait_for(work, 120))


@dataclass
class Site:
    """A server that loads real models, and tokens."""

    client: httpx.AsyncClient
    folder: Path
    ada: dict[str, str]
    bob: dict[str, str]
    admin: dict[str, str]

    async def register(self, headers: dict[str, str], **body: object) -> httpx.Response:
        return await self.client.post("/api/models", json=body, headers=headers)

    async def ask(self, headers: dict[str, str], name: str = "ada/mine") -> httpx.Response:
        return await self.client.post(f"/models/{name}", json=BODY, headers=headers)

    async def put(self, file: str, content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        path = f"/api/models/ada/mine/files/{file}"
        return await self.client.put(path, content=content, headers=headers or self.ada)

    async def put_all(self, folder: Path) -> None:
        for file in folder.iterdir():
            assert (await self.put(file.name, file.read_bytes())).status_code == 200, file

    def files(self) -> set[str]:
        """Folders that are removed just now are passed over, which `Path.rglob` does not do."""
        return {name for _, _, names in os.walk(self.folder / "uploads") for name in names}


@asynccontextmanager
async def site_of(
    database: Database, tmp_path: Path, max_upload_bytes: int = 64 << 20, precision: Precision = "float32"
) -> AsyncIterator[Site]:
    folder = tmp_path / "home"
    host = ModelHost(
        lambda model, token: load_registered(model, token, ("float32", "cpu"), folder),
        purpose_of,
        folder,
        max_upload_bytes,
        precision=precision,
    )
    scopes = {"ada": ("predict", "manage"), "bob": ("predict", "manage")}
    ada, bob = (bearer(database, account=name, scopes=given) for name, given in scopes.items())
    admin = bearer(database, account="ada", scopes=("predict", "manage", "admin"))
    async with client_of(state_over(database, required=False, host=host)) as client:
        yield Site(client, folder, ada, bob, admin)


def test_a_model_of_the_hub_is_fetched_with_its_owners_token_which_is_kept_nowhere(
    database: Database, tmp_path: Path, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        hub.add("ada/secret", checkpoint("gpt2"))
        async with site_of(database, tmp_path) as site:
            made = await site.register(site.ada, name="mine", hub_id="ada/secret", hub_token=HUB_TOKEN)
            assert (made.status_code, made.json()["name"], made.json()["private"]) == (201, "ada/mine", True)
            assert (await site.ask(site.ada)).status_code == 200
            assert f"Bearer {HUB_TOKEN}" in hub.tokens
            assert hub.tokens <= {f"Bearer {HUB_TOKEN}", ""}  # files themselves may be asked for without
            for headers in (site.bob, {}):
                assert (await site.ask(headers)).status_code == 404
            assert HUB_TOKEN not in made.text + (await site.client.get("/api/models", headers=site.ada)).text
        hub.tokens.clear()
        async with site_of(database, tmp_path) as site:  # the token is gone, the files are not
            assert (await site.ask(site.ada)).status_code == 200
            assert hub.tokens == set()

    run(check())
    with database.reading() as connection:
        rows = [row for table in metadata.tables.values() for row in connection.execute(table.select())]
    assert HUB_TOKEN not in repr(rows) + caplog.text


def test_who_sends_no_token_of_the_hub_gets_neither_the_servers_nor_anothers_files(
    database: Database, tmp_path: Path, hub: FakeHub
) -> None:
    async def check() -> None:
        hub.add("ada/secret", checkpoint("gpt2"))
        async with site_of(database, tmp_path) as site:
            await site.register(site.ada, name="mine", hub_id="ada/secret", hub_token=HUB_TOKEN)
            assert (await site.ask(site.ada)).status_code == 200
            hub.tokens.clear()
            hub.gated.add("ada/secret")
            await site.register(site.bob, name="stolen", hub_id="ada/secret")
            refused = await site.ask(site.bob, "bob/stolen")
            assert refused.status_code == 400
            assert "Model bob/stolen can't be loaded: ada/secret is open only" in refused.json()["message"]
            assert "`hub_token`" in refused.json()["message"]
            assert hub.tokens == {""}

    run(check())


def test_what_one_server_fetched_with_its_owners_token_another_reads_where_they_share_a_folder(
    database: Database, tmp_path: Path, hub: FakeHub
) -> None:
    async def check() -> None:
        hub.add("ada/secret", checkpoint("gpt2"))
        async with site_of(database, tmp_path) as one:
            await one.register(one.ada, name="mine", hub_id="ada/secret", hub_token=HUB_TOKEN)
            assert (await one.ask(one.ada)).status_code == 200
        hub.gated.add("ada/secret")
        async with site_of(database, tmp_path) as sharing, site_of(database, tmp_path / "apart") as apart:
            assert (await sharing.ask(sharing.ada)).status_code == 200
            refused = await apart.ask(apart.ada)
            assert (refused.status_code, "has no Hub token for it" in refused.text) == (400, True)

    run(check())


def test_a_hub_that_fails_is_tried_again_and_is_nobodys_fault(database: Database, tmp_path: Path, hub: FakeHub) -> None:
    async def check() -> None:
        hub.add("ada/secret", checkpoint("gpt2"))
        async with site_of(database, tmp_path) as site:
            await site.register(site.ada, name="mine", hub_id="ada/secret", hub_token=HUB_TOKEN)
            hub.status = 500
            later = await site.ask(site.ada)
            assert later.status_code == 503
            assert 0 < later.json()["estimated_time"] <= 5
            hub.status = 0
            await asyncio.sleep(later.json()["estimated_time"])
            assert (await site.ask(site.ada)).status_code == 200

    run(check())


def test_what_the_hub_refuses_to_the_token_that_was_sent_is_told_with_that_remedy(
    database: Database, tmp_path: Path, hub: FakeHub
) -> None:
    async def check() -> None:
        async with site_of(database, tmp_path) as site:
            await site.register(site.ada, name="mine", hub_id="ada/none", hub_token=HUB_TOKEN)
            refused = (await site.ask(site.ada)).json()["message"]
            assert "There is no model ada/none on the Hub" in refused
            assert "with a `hub_token` that may read it" in refused
            assert "HF_TOKEN" not in refused

    run(check())


def test_a_path_needs_a_token_for_it(database: Database, tmp_path: Path) -> None:
    async def check() -> None:
        folder = str(checkpoint("gpt2"))
        async with site_of(database, tmp_path) as site:
            refused = await site.register(site.ada, name="mine", path=folder)
            assert (refused.status_code, "scope admin" in refused.text) == (403, True)
            for wrong in ("relative", "/etc/passwd", "/nowhere"):
                assert (await site.register(site.admin, name="mine", path=wrong)).status_code == 400
            made = await site.register(site.admin, name="mine", path=folder, private=False)
            assert made.status_code == 201
            assert folder not in made.text
            assert (await site.ask(site.bob)).status_code == 200
            refused = await site.client.delete("/api/models/ada/mine", headers=site.bob)
            assert refused.status_code == 403
            assert (await site.client.delete("/api/models/ada/mine", headers=site.ada)).status_code == 204
            assert (await site.ask(site.ada)).status_code == 404
            assert Path(folder).is_dir()

    run(check())


def test_an_upload_is_served_once_it_was_checked_and_until_it_is_removed(database: Database, tmp_path: Path) -> None:
    async def check() -> None:
        async with site_of(database, tmp_path) as site:
            await site.put_all(checkpoint("gpt2"))
            assert (await site.ask(site.ada)).status_code == 404
            assert (await site.register(site.ada, name="ada/mine", upload=True)).status_code == 201
            assert (await site.ask(site.ada)).json()[0]["generated_text"].startswith("the")
            assert (await site.ask(site.bob)).status_code == 404
            assert (await site.put("config.json", b"{}")).status_code == 409
        async with site_of(database, tmp_path) as site:
            assert (await site.ask(site.ada)).status_code == 200
            removed = await site.client.delete("/api/models/ada/mine", headers=site.ada)
            assert removed.status_code == 204
            await until(lambda: not site.files())
            assert (await site.client.get("/api/models", headers=site.ada)).json() == []

    run(check())


def test_the_memory_of_a_model_that_is_removed_is_given_back(database: Database, tmp_path: Path) -> None:
    def engines() -> list[EngineLoop]:
        return [each for each in gc.get_objects() if type(each) is EngineLoop]

    async def check() -> None:
        async with site_of(database, tmp_path) as site:
            await site.put_all(checkpoint("gpt2"))
            others = {id(each) for each in engines()}
            assert (await site.register(site.ada, name="ada/mine", upload=True)).status_code == 201
            assert (await site.ask(site.ada)).status_code == 200
            (engine,) = [weakref.ref(each) for each in engines() if id(each) not in others]
            keep_out()  # as a server does when a model has loaded
            assert (await site.client.delete("/api/models/ada/mine", headers=site.ada)).status_code == 204

            def is_gone() -> bool:
                gc.collect()
                return engine() is None

            await until(is_gone)

    try:
        run(check())
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(
    "file",
    [
        "pytorch_model.bin",
        "model.pkl",
        "modeling.py",
        "tokenizer.model",
        "..json",
        ".json",
        "a%2Fconfig.json",
        "..%2Fconfig.json",
        "..%2F..%2F..%2Fconfig.json",
        "a%5Cconfig.json",
        "config.json%00",
        "config.json%0A",
        "CON FIG.json",
        "a" * 100 + ".json",
        "é.json",
    ],
)
def test_a_file_of_another_kind_is_refused(database: Database, tmp_path: Path, file: str) -> None:
    async def check() -> None:
        async with site_of(database, tmp_path) as site:
            assert (await site.put(file, b"x")).status_code in (400, 404)
            assert site.files() == set()

    run(check())


@pytest.mark.parametrize("name", ["..", ".", "a%2F..", "a b", "a%00", "..%2F..%2Fx"])
def test_a_name_that_could_be_a_path_is_refused(database: Database, tmp_path: Path, name: str) -> None:
    async def check() -> None:
        async with site_of(database, tmp_path) as site:
            sent = await site.client.put(f"/api/models/ada/{name}/files/a.json", content=b"x", headers=site.ada)
            assert sent.status_code in (400, 403, 404, 405)
            assert (await site.register(site.admin, name=f"ada/{name}", upload=True)).status_code == 400
            assert not (tmp_path / "home").exists()

    run(check())


def test_a_model_that_can_not_run_in_the_servers_precision_is_refused_and_may_be_changed(
    database: Database, tmp_path: Path
) -> None:
    async def check() -> None:
        async with site_of(database, tmp_path, precision="int8") as site:
            await site.put_all(encoder("bert-classifier"))
            for _ in range(2):  # the upload lies where it lay
                refused = await site.register(site.ada, name="mine", upload=True)
                assert (refused.status_code, "int8" in refused.text) == (400, True)
            refused = await site.register(site.admin, name="mine", path=str(encoder("bert-classifier")))
            assert refused.status_code == 400
            assert (await site.client.get("/api/models", headers=site.ada)).json() == []

    run(check())


def test_what_is_larger_than_the_bound_is_refused_while_it_is_read(database: Database, tmp_path: Path) -> None:
    num_sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal num_sent
        while True:
            num_sent += 1
            yield b"x" * 1000

    async def check() -> None:
        async with site_of(database, tmp_path, max_upload_bytes=5000) as site:
            path = "/api/models/ada/mine/files/model.safetensors"
            assert (await site.put("a.json", b"x" * 3000)).status_code == 200
            assert (await site.put("b.json", b"x" * 3000)).status_code == 413
            assert (await site.put("a.json", b"x" * 4000)).status_code == 200  # in its own place
            assert (await site.client.put(path, content=endless(), headers=site.ada)).status_code == 413
            assert num_sent < 10
            assert site.files() == {"a.json"}

    run(check())


def test_an_upload_that_is_no_model_is_told_why_and_not_served(database: Database, tmp_path: Path) -> None:
    async def check() -> None:
        good = {file.name: file.read_bytes() for file in checkpoint("gpt2").iterdir()}
        weights = good["model.safetensors"]
        async with site_of(database, tmp_path) as site:
            refused = await site.register(site.ada, name="mine", upload=True)
            assert (refused.status_code, "have been uploaded" in refused.text) == (400, True)
            wrongs = {
                "config.json": [b"[]", b"{"],
                "model.safetensors": [weights[: len(weights) // 2], b"\x80\x04K\x01.", b""],
                "tokenizer.json": [b"{}"],
            }
            for file, contents in wrongs.items():
                await site.put_all(checkpoint("gpt2"))
                for content in contents:
                    await site.put(file, content)
                    refused = await site.register(site.ada, name="mine", upload=True)
                    assert refused.status_code == 400, (file, content[:20])
                    assert "The upload is no model" in refused.json()["error"][0]
                    assert str(tmp_path) not in refused.text
            assert (await site.ask(site.ada)).status_code == 404
            await site.put_all(checkpoint("gpt2"))
            assert (await site.register(site.ada, name="mine", upload=True)).status_code == 201

    run(check())


@pytest.mark.parametrize("stream", [False, True])
def test_files_that_turn_out_to_be_no_model_are_the_owners_affair_and_their_place_is_not_told(
    database: Database, tmp_path: Path, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        config = json.loads((encoder("bert-classifier") / "config.json").read_text())
        async with site_of(database, tmp_path) as site:
            await site.put_all(encoder("bert-classifier"))
            await site.put("config.json", json.dumps(config | {"architectures": ["Unheard"]}).encode())
            assert (await site.register(site.ada, name="mine", upload=True)).status_code == 201
            for path, body in (
                ("/models/ada/mine", BODY | {"stream": stream}),
                ("/v1/completions", {"model": "ada/mine", "prompt": "the", "stream": stream}),
            ):
                headers = site.ada | {"x-wait-for-model": "1"}
                refused = await site.client.post(path, json=body, headers=headers)
                assert refused.status_code == 400
                assert "Model ada/mine can't be loaded: " in refused.text
                assert str(tmp_path) not in refused.text

    run(check())
    assert "model not loaded" in caplog.text


def test_a_path_to_a_pickle_is_refused_and_nothing_of_it_is_run(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_bytes((checkpoint("gpt2") / "config.json").read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")

    async def check() -> None:
        async with site_of(database, tmp_path) as site:
            refused = await site.register(site.admin, name="mine", path=str(folder))
            assert refused.status_code == 400
            assert "`path` holds no model" in refused.json()["message"]
            assert (await site.ask(site.ada)).status_code == 404

    run(check())


def test_names_are_of_the_account_and_given_once(database: Database, tmp_path: Path) -> None:
    async def check() -> None:
        async with site_of(database, tmp_path) as site:
            for headers, status in (({}, 400), (site.bob, 403)):
                assert (await site.register(headers, name="ada/mine", hub_id="a/b")).status_code == status
                sent = await site.client.put("/api/models/ada/mine/files/a.json", content=b"x", headers=headers)
                assert sent.status_code == status
            assert (await site.register(site.ada, name="mine", hub_id="a/b")).status_code == 201
            assert (await site.register(site.ada, name="mine", hub_id="a/b")).status_code == 409
            refused = await site.client.delete("/api/models/org/fake", headers=site.ada)
            assert (refused.status_code, "stays" in refused.text) == (403, True)

    run(check())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "name"),
        ({"name": "a"}, "one of `hub_id`, `path` and `upload`"),
        ({"name": "a", "hub_id": "x/y", "path": "/x"}, "one of"),
        ({"name": "a", "hub_id": "../../etc"}, "can't be the name"),
        ({"name": "a", "upload": True, "revision": "main"}, "revision"),
        ({"name": "a", "upload": True, "hub_token": "hf_x"}, "hub_token"),
        ({"name": "a/b/c", "upload": True}, "can't be the name"),
        ({"name": "a", "hub_id": "x/y", "colour": "red"}, "colour"),
        ({"name": "a", "hub_id": "x/y", "private": "yes"}, "private"),
    ],
)
def test_what_cannot_be_registered_is_refused_by_name(
    database: Database, tmp_path: Path, body: dict[str, object], says: str
) -> None:
    async def check() -> None:
        async with site_of(database, tmp_path) as site:
            refused = await site.register(site.ada, **body)
            assert refused.status_code == 400
            assert says in json.dumps(refused.json()["error"])

    run(check())


def test_the_models_of_another_server_are_served_and_go_with_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_sync, "REFRESH_S", 0.02)

    async def check() -> None:
        async with site_of(database, tmp_path) as one, site_of(database, tmp_path) as other:
            await one.put_all(checkpoint("gpt2"))
            assert (await one.register(one.ada, name="mine", upload=True)).status_code == 201
            while (await other.ask(other.ada)).status_code == 404:
                await asyncio.sleep(0.01)
            assert (await other.ask(other.ada)).json() == (await one.ask(one.ada)).json()
            assert (await other.ask(other.bob)).status_code == 404
            assert (await other.client.delete("/api/models/ada/mine", headers=other.ada)).status_code == 204
            while (await one.ask(one.ada)).status_code != 404:
                await asyncio.sleep(0.01)
            assert (await one.client.get("/api/models", headers=one.ada)).json() == []
            await until(lambda: not one.files())
            await one.put_all(checkpoint("gpt2"))
            assert (await one.register(one.ada, name="mine", upload=True)).status_code == 201

    run(check())


def test_a_model_that_a_server_can_not_serve_is_told_once_and_held_against_nobody(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_sync, "REFRESH_S", 0.02)

    async def check() -> None:
        Accounts(database).create("org")
        ModelStore(database).create(
            NewModel(name="org/fake", owner="org", is_private=False, kind="hub", location="a/b")
        )
        async with site_of(database, tmp_path) as site:
            assert (await site.ask(site.ada, "org/fake")).status_code == 200  # the command line's
            assert (await site.register(site.ada, name="mine", hub_id="a/b")).status_code == 201
            await asyncio.sleep(0.1)
            assert [each["name"] for each in (await site.client.get("/api/models", headers=site.ada)).json()] == [
                "ada/mine"
            ]

    run(check())
    assert caplog.text.count("model not served") == 1


def test_a_server_without_a_database_takes_no_models() -> None:
    async def check() -> None:
        from tests.unit.server.serving import FakeModel, state_with

        async with client_of(state_with(FakeModel())) as client:
            assert (await client.post("/api/models", json={"name": "a", "hub_id": "x/y"})).status_code == 503
            assert (await client.get("/api/models")).json() == []

    run(check())
