"""Models of the Hub, from a real HTTP server on loopback that speaks enough of its interface."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import save_file

from handful.config import Settings
from handful.errors import CheckpointError, InvalidParameterError, NotFoundError, NotReadyError, UserError
from handful.model import source
from handful.model.checkpoint import Checkpoint
from handful.model.source import ModelFiles, resolve
from handful.model.tokenizer import Tokenizer
from tests.unit.model.fake_hub import FakeHub, running_hub
from tests.unit.model.tiny_models import checkpoint

NAME = "someone/tiny-model"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        yield hub


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    shutil.copytree(checkpoint("gpt2"), folder)
    return folder


@pytest.fixture
def unexamined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it matters which files come, not what is in them."""
    monkeypatch.setattr(source, "examine", lambda path, name: None)


def get(name: str = NAME, *, revision: str | None = None, local_only: bool = False) -> ModelFiles:
    return resolve(name, revision=revision, settings=Settings(), local_only=local_only)


def test_a_hub_model_becomes_a_folder_that_can_be_read(hub: FakeHub, model: Path) -> None:
    commit = hub.add(NAME, model)
    files = get()
    assert (files.name, files.source, files.revision) == (NAME, f"Hub: {NAME}", commit)
    with Checkpoint(files.folder) as read:
        assert "transformer.wte.weight" in read
    assert Tokenizer(files.folder).encode("the review")


def test_only_the_files_that_are_needed_are_fetched(hub: FakeHub, model: Path) -> None:
    for name in ("README.md", "pytorch_model.bin", "tf_model.h5", "consolidated.safetensors", "modeling_evil.py"):
        (model / name).write_text("large")
    (model / "onnx").mkdir()
    (model / "onnx" / "model.safetensors").write_text("large")
    hub.add(NAME, model)
    get()
    needed = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(hub.served()) == needed
    assert len(hub.served()) == len(needed)


@pytest.mark.usefixtures("unexamined")
def test_pickles_are_fetched_where_there_is_nothing_else(hub: FakeHub, model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    hub.add(NAME, model)
    assert (get().folder / "pytorch_model.bin").is_file()


@pytest.mark.usefixtures("unexamined")
def test_shards_and_their_index_are_fetched(hub: FakeHub, model: Path) -> None:
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    (model / "model.safetensors").rename(model / shards[0])
    shutil.copy(model / shards[0], model / shards[1])
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))
    hub.add(NAME, model)
    assert {path.name for path in get().folder.glob("model*")} == {*shards, "model.safetensors.index.json"}


def test_a_revision_is_honoured(hub: FakeHub, model: Path, tmp_path: Path) -> None:
    hub.add(NAME, model)
    other = tmp_path / "other"
    shutil.copytree(model, other)
    (other / "tokenizer_config.json").write_text('{"bos_token": null}')
    commit = hub.add(NAME, other, "v2")
    assert get(revision="v2").revision == commit
    assert get(revision=commit).revision == commit
    assert get().revision != commit


def test_all_files_are_of_one_commit_when_the_branch_moves_meanwhile(hub: FakeHub, model: Path, tmp_path: Path) -> None:
    first = hub.add(NAME, model)
    newer = tmp_path / "newer"
    shutil.copytree(model, newer)
    (newer / "config.json").write_text(json.dumps({"model_type": "gpt2", "moved": True}))
    hub.models[NAME]["kept-reachable"] = model
    moved = MovingBranches(hub.models[NAME], newer)
    hub.models[NAME] = moved
    files = get()
    assert files.revision == first
    assert "moved" not in json.loads((files.folder / "config.json").read_text())
    assert moved.has_moved


class MovingBranches(dict[str, Path]):
    """Branches of which `main` is another folder from the second question on; old commits stay reachable."""

    def __init__(self, branches: dict[str, Path], newer: Path) -> None:
        super().__init__(branches)
        self._newer = newer
        self.has_moved = False

    def items(self) -> object:  # type: ignore[override]
        found = list(super().items())
        self["main"], self.has_moved = self._newer, True
        return found


def test_the_access_token_is_sent(hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.add(NAME, model)
    get()
    assert hub.tokens == {"Bearer hf_secret"}


def test_a_cached_model_works_offline(hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, model)
    online = get()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    num_requests = len(hub.requests)
    assert get() == online
    assert len(hub.requests) == num_requests


def test_a_cached_model_works_when_the_hub_is_gone(hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, model)
    online = get()
    hub.status = 503
    assert get() == online


@pytest.mark.usefixtures("unexamined")
def test_a_sentence_encoder_comes_with_its_modules(hub: FakeHub, model: Path) -> None:
    kept = ("modules.json", "sentence_bert_config.json", "vocab.txt", "1_Pooling/config.json", "2_Dense/config.json")
    others = ("onnx/config.json", "openvino/config.json", "1_Pooling/own.py")
    for name in (*kept, *others, "2_Dense/model.safetensors"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_text("{}")
    hub.add(NAME, model)
    folder = get().folder
    assert all((folder / name).is_file() for name in (*kept, "2_Dense/model.safetensors"))
    assert not any((folder / name).exists() for name in others)


def test_local_only_asks_nobody(hub: FakeHub, model: Path) -> None:
    hub.add(NAME, model)
    with pytest.raises(NotFoundError, match="not, or not wholly, in the cache") as caught:
        get(local_only=True)
    assert f"handful models pull {NAME}" in caught.value.fix
    assert hub.requests == []


def test_a_model_that_is_not_cached_is_not_found_offline(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NotFoundError, match="HF_HUB_OFFLINE is set"):
        get()


def test_an_unknown_model_is_not_found(hub: FakeHub) -> None:
    with pytest.raises(NotFoundError, match="no model someone/else on the Hub") as caught:
        get("someone/else")
    assert "HF_TOKEN" in caught.value.fix


def test_an_unknown_revision_is_not_found(hub: FakeHub, model: Path) -> None:
    hub.add(NAME, model)
    with pytest.raises(NotFoundError, match="no revision 'v9'"):
        get(revision="v9")


def test_a_gated_model_says_how_to_get_in(hub: FakeHub, model: Path) -> None:
    hub.add(NAME, model)
    hub.gated.add(NAME)
    with pytest.raises(NotFoundError, match="accepted its conditions") as caught:
        get()
    assert "HF_TOKEN" in caught.value.fix


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_failing_hub_is_an_error_to_retry(status: int, hub: FakeHub, model: Path) -> None:
    hub.add(NAME, model)
    hub.status = status
    with pytest.raises(NotReadyError, match=f"HTTP {status}"):
        get()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_access_asks_for_a_token(status: int, hub: FakeHub, model: Path) -> None:
    hub.add(NAME, model)
    hub.status = status
    with pytest.raises(NotFoundError) as caught:
        get()
    assert "HF_TOKEN" in caught.value.fix


def test_no_network_is_an_error_to_retry(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NotReadyError, match="broke off") as caught:
        get()
    assert "Check the network" in caught.value.fix


def test_a_download_that_breaks_off_is_no_model_and_goes_on_later(hub: FakeHub, model: Path) -> None:
    hub.add(NAME, model)
    hub.truncate = "model.safetensors"
    with pytest.raises(NotReadyError, match="broke off"):
        get()
    with pytest.raises(NotFoundError):
        get(local_only=True)
    hub.truncate = ""
    with Checkpoint(get().folder) as read:
        assert read.names


def test_a_model_without_a_config_is_refused(hub: FakeHub, model: Path) -> None:
    (model / "config.json").unlink()
    hub.add(NAME, model)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        get()


def test_a_model_without_weights_is_refused(hub: FakeHub, model: Path) -> None:
    (model / "model.safetensors").unlink()
    save_file({}, model / "adapter_model.safetensors")
    hub.add(NAME, model)
    with pytest.raises(CheckpointError, match="no weights"):
        get()


def test_the_access_token_goes_to_the_hub_and_not_to_where_it_sends_on(
    hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, model)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with running_hub() as elsewhere:
        elsewhere.add(NAME, model)
        hub.redirect = elsewhere.endpoint
        get()
        assert elsewhere.served() == ["model.safetensors"]
        assert elsewhere.tokens == {""}
    assert "Bearer hf_secret" in hub.tokens


@pytest.mark.parametrize("revision", ["../main", "a//b", "", "-x", "a b", "x" * 200])
def test_a_malformed_revision_never_reaches_the_hub(revision: str, hub: FakeHub) -> None:
    with pytest.raises(InvalidParameterError, match="revision"):
        get(revision=revision)
    assert hub.requests == []


@pytest.mark.parametrize(
    "name", ["a/../b", "a--b/c", "a/b/c", "/etc", "..", "a\\b", "a/b?x=1", "a/b#c", "a b", "%2e%2e/x", "a/", "ü/x"]
)
def test_a_malformed_name_never_reaches_the_hub(name: str, hub: FakeHub) -> None:
    with pytest.raises(UserError):
        get(name)
    assert hub.requests == []
