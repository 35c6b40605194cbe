"""What a model's name stands for."""

import os
import shutil
from pathlib import Path

import pytest

from handful.config import Settings
from handful.errors import CheckpointError, InvalidParameterError, NotFoundError, UserError
from handful.model import source
from handful.model.checkpoint import Checkpoint
from handful.model.source import ModelFiles, resolve
from tests.unit.model.gguf_factory import write_gguf
from tests.unit.model.tiny_models import checkpoint, reference


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may ask the Hub."""

    def refuse(name: str, revision: str | None, *, local_only: bool) -> tuple[Path, str]:
        raise AssertionError(f"the Hub was asked for {name}")

    monkeypatch.setattr(source, "fetch", refuse)


@pytest.fixture
def gguf_path(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "tiny.gguf", reference("llama-tied"))


def test_a_folder_with_a_config_is_taken_as_it_is(settings: Settings) -> None:
    folder = checkpoint("gpt2")
    assert resolve(str(folder), settings=settings) == ModelFiles(str(folder), folder.resolve(), str(folder), "")


def test_a_folder_is_taken_before_a_hub_model_of_that_name(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(checkpoint("gpt2"), tmp_path / "gpt2")
    monkeypatch.chdir(tmp_path)
    assert resolve("gpt2", settings=settings).folder == tmp_path / "gpt2"


def test_a_gguf_file_is_converted_into_the_cache(settings: Settings, gguf_path: Path) -> None:
    files = resolve(str(gguf_path), settings=settings)
    assert files.folder.parent == settings.cache_folder / "models"
    assert (files.name, files.source) == (str(gguf_path), str(gguf_path))
    with Checkpoint(files.folder) as read:
        assert "model.norm.weight" in read


def test_a_gguf_file_is_converted_once(settings: Settings, gguf_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve(str(gguf_path), settings=settings)
    monkeypatch.setattr(source, "convert_gguf", lambda *arguments: pytest.fail("converted again"))
    assert resolve(str(gguf_path), settings=settings) == first


def test_a_changed_gguf_file_is_converted_again(settings: Settings, gguf_path: Path) -> None:
    first = resolve(str(gguf_path), settings=settings)
    os.utime(gguf_path, ns=(1, 1))
    assert resolve(str(gguf_path), settings=settings).folder != first.folder


def test_a_damaged_gguf_file_leaves_nothing_in_the_cache(settings: Settings, gguf_path: Path) -> None:
    gguf_path.write_bytes(gguf_path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"tiny\.gguf"):
        resolve(str(gguf_path), settings=settings)
    assert [path.name for path in (settings.cache_folder / "models").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("name", ["./none", "../none", "/no/such/folder", "~/none-such", "none.gguf", "a/b/c", "a\\b"])
def test_a_path_that_does_not_exist_is_not_found(name: str, settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="no folder or GGUF file") as caught:
        resolve(name, settings=settings)
    assert caught.value.fix == "Check the path."


def test_a_folder_without_a_config_names_the_gguf_file_in_it(settings: Settings, gguf_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no config\.json.*tiny\.gguf"):
        resolve(str(gguf_path.parent), settings=settings)


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "a\nb", "x" * 5000])
def test_what_can_be_no_name_is_refused(name: str, settings: Settings) -> None:
    with pytest.raises(InvalidParameterError, match="model"):
        resolve(name, settings=settings)


@pytest.mark.parametrize(
    "name", ["a..b/c", "-rf", "a--b", "my model", "https://example.org/x", "ünïcode/x", "a/" + "b" * 97]
)
def test_a_malformed_hub_name_is_not_found(name: str, settings: Settings) -> None:
    with pytest.raises(NotFoundError):
        resolve(name, settings=settings)


def test_a_revision_is_refused_where_there_is_none(settings: Settings) -> None:
    for name in ("default", str(checkpoint("gpt2"))):
        with pytest.raises(InvalidParameterError, match="revision"):
            resolve(name, revision="main", settings=settings)


def test_the_default_model_is_not_fetched_when_only_local_ones_are_wanted(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="handful models pull default"):
        resolve("default", settings=settings, local_only=True)


def test_a_cache_that_cannot_be_written_to_says_so(gguf_path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="HANDFUL_HOME"):
        resolve(str(gguf_path), settings=Settings(home=tmp_path / "file"))
