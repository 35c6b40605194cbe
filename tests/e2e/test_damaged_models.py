"""Damaged and hostile model files that are brought to a real server: one answer each, and it serves on."""

import base64
import json
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Server, serving
from tests.e2e.test_accounts import new_token
from tests.unit.model.fake_hub import FakeHub, running_hub
from tests.unit.model.gguf_factory import write_gguf
from tests.unit.model.tiny_models import checkpoint, reference

BODY = {"inputs": "the", "parameters": {"max_new_tokens": 2}, "options": {"wait_for_model": True}}
CLAIM = base64.b64encode(struct.pack("<I", 0xFFFFFFFC) + b"\0").decode()  # 4 GiB of a table are to come
GROW = [
    {"type": "Replace", "pattern": {"Regex": "a|b"}, "content": "b" * 100_000},
    {"type": "Replace", "pattern": {"String": "b"}, "content": "b" * 1_000_000},
]
HOSTILE: dict[str, dict[str, Any]] = {
    "panics": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    "aborts": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": CLAIM}},
    "grows": {"normalizer": {"type": "Sequence", "normalizers": GROW}},
}
Damage = Callable[[bytes], bytes]


@dataclass
class Site:
    """A server that takes models, the Hub that it asks, and a token."""

    server: Server
    hub: FakeHub
    token: dict[str, str]

    def register(self, **body: object) -> httpx.Response:
        return httpx.post(f"{self.server.url}/api/models", json=body, headers=self.token, timeout=120)

    def upload(self, name: str, files: dict[str, bytes]) -> httpx.Response:
        for file, content in files.items():
            url = f"{self.server.url}/api/models/default/{name}/files/{file}"
            assert httpx.put(url, content=content, headers=self.token, timeout=60).status_code == 200
        return self.register(name=name, upload=True)

    def ask(self, model: str) -> httpx.Response:
        return httpx.post(f"{self.server.url}/models/{model}", json=BODY, headers=self.token, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    url = f"sqlite:///{folder}/handful.db"
    with running_hub() as hub, pytest.MonkeyPatch.context() as patched:
        patched.setenv("HF_ENDPOINT", hub.endpoint)
        patched.setenv("HF_TOKEN", "hf_theserversown")
        tiny = f"--model=tiny={checkpoint('llama')}"
        with serving(tiny, "--precision=float32", DATABASE_URL=url, HOME=str(folder / "home")) as server:
            yield Site(server, hub, new_token(url, "--scope", "predict", "--scope", "manage", "--scope", "admin"))


@pytest.fixture(autouse=True)
def serves_on(site: Site) -> Iterator[None]:
    """Whatever a test has brought, the server answers after it."""
    yield
    assert site.ask("tiny").status_code == 200


def good() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in checkpoint("gpt2").iterdir()}


def flipped(content: bytes) -> bytes:
    damaged, chance = bytearray(content), random.Random(3)
    for _ in range(40):
        damaged[chance.randrange(min(len(content), 2000))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_huge_header(content: bytes) -> bytes:
    return (1 << 62).to_bytes(8, "little") + content[8:]


def tokenizer_with(steps: dict[str, Any]) -> bytes:
    return json.dumps(json.loads(good()["tokenizer.json"]) | steps).encode()


def test_a_good_model_is_served_however_it_comes(site: Site, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "good.gguf", reference("llama-tied"))
    site.hub.add("ada/good", checkpoint("gpt2"))
    assert site.upload("uploaded", good()).status_code == 201
    assert site.register(name="named", path=str(checkpoint("gpt2"))).status_code == 201
    assert site.register(name="gguf", path=str(path)).status_code == 201
    assert site.register(name="fetched", hub_id="ada/good").status_code == 201
    for name in ("uploaded", "named", "gguf", "fetched"):
        assert site.ask(f"default/{name}").status_code == 200, name


@pytest.mark.parametrize("damage", [truncated, flipped, with_huge_header])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_upload_is_refused_with_its_files_name(site: Site, file: str, damage: Damage) -> None:
    files = good()
    refused = site.upload("damaged", files | {file: damage(files[file])})
    assert refused.status_code == 400
    assert file in refused.text
    assert site.ask("default/damaged").status_code == 404


@pytest.mark.parametrize("damage", [truncated, flipped, with_huge_header])
def test_a_damaged_file_that_is_named_by_its_path_is_refused(site: Site, tmp_path: Path, damage: Damage) -> None:
    path = write_gguf(tmp_path / "damaged.gguf", reference("llama-tied"))
    path.write_bytes(damage(path.read_bytes()))
    refused = site.register(name="damaged", path=str(path))
    assert (refused.status_code, "damaged.gguf" in refused.text) == (400, True)
    folder = shutil.copytree(checkpoint("gpt2"), tmp_path / "folder")
    (folder / "model.safetensors").write_bytes(damage(good()["model.safetensors"]))
    refused = site.register(name="damaged", path=str(folder))
    assert (refused.status_code, "model.safetensors" in refused.text) == (400, True)


@pytest.mark.parametrize("how", HOSTILE)
def test_a_tokenizer_that_its_reader_can_not_stand_is_refused(site: Site, how: str) -> None:
    refused = site.upload("hostile", good() | {"tokenizer.json": tokenizer_with(HOSTILE[how])})
    assert (refused.status_code, "tokenizer.json" in refused.text) == (400, True)


def test_a_model_of_the_hub_that_its_reader_can_not_stand_is_not_loaded(site: Site, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint("gpt2"), tmp_path / "hostile"))
    (folder / "tokenizer.json").write_bytes(tokenizer_with(HOSTILE["panics"]))
    site.hub.add("ada/hostile", folder)
    assert site.register(name="hostile-hub", hub_id="ada/hostile").status_code == 201
    answer = site.ask("default/hostile-hub")
    assert (answer.status_code, "tokenizer.json makes its reader fail" in answer.text) == (400, True)


def test_files_that_change_after_they_were_registered_are_examined_when_they_are_loaded(
    site: Site, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint("gpt2"), tmp_path / "changing"))
    assert site.register(name="changing", path=str(folder)).status_code == 201
    (folder / "tokenizer.json").write_bytes(tokenizer_with(HOSTILE["panics"]))
    answer = site.ask("default/changing")
    assert (answer.status_code, "tokenizer.json makes its reader fail" in answer.text) == (400, True)
