"""What a run was made with: versions, processor, command; and what its data were."""

import hashlib
import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PARTS = ("handful", "torch", "numpy", "scikit-learn", "matplotlib", "sacrebleu")
_HIDDEN = "..."


def versions() -> dict[str, str]:
    """The versions of handful, of what it computes with, and of Python and the machine."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in _PARTS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def command_line(arguments: Sequence[str]) -> str:
    """The command as it can be typed again, but for a token, which no report may hold."""
    shown = list(arguments)
    for index, word in enumerate(shown):
        if word == "--token" and index + 1 < len(shown):
            shown[index + 1] = _HIDDEN
        elif word.startswith("--token="):
            shown[index] = f"--token={_HIDDEN}"
    return shlex.join(["handful", *shown])


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file, or of all files of a folder with their names."""
    if path.is_file():
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for file_path in sorted(path.rglob("*")) if path.is_dir() else []:
        if file_path.is_file():
            with file_path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{file_path.relative_to(path)}\0{digest}\0".encode())
    return "sha256:" + whole.hexdigest()
