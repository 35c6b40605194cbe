"""From a model's name to a local folder with its weights, config and tokenizer.

A name is `default` or `default-embeddings`, a folder, a `.gguf` file, or a Hub id (`EleutherAI/gpt-neo-125m`), tried
in this order. Nothing is fetched for a name that isn't a well-formed Hub id, and all files of a Hub model are of one
commit. Files from outside are examined by a process of their own before they are opened (`apart.py`).
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from handful.config import Settings
from handful.errors import InvalidParameterError, NotFoundError
from handful.model import default, default_embeddings
from handful.model.apart import examine
from handful.model.gguf_convert import FORMAT, convert_gguf
from handful.model.hub import fetch
from handful.model.source_cache import made_folder, read_marker
from handful.model.source_progress import progress_bar

DEFAULT_NAME = "default"
EMBEDDINGS_NAMES = default_embeddings.DEFAULT_EMBEDDINGS.names
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?", re.ASCII)
_MAX_NAME_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model lies. `name` is as it was asked for; `revision` is a commit or a checksum, empty for a folder."""

    name: str
    folder: Path
    source: str
    revision: str


def resolve(name: str, *, revision: str | None = None, settings: Settings, local_only: bool = False) -> ModelFiles:
    """The local files of a model, downloaded or converted first where that is needed.

    `revision` (a branch, tag or commit) is for Hub ids only. With `local_only` nothing is downloaded, and a model that
    isn't here yet is a NotFoundError. Raises NotFoundError, CheckpointError, NotReadyError (no network; try again),
    InvalidParameterError, and UserError when the disk is full.
    """
    _check_name(name)
    is_hub_id = name not in (DEFAULT_NAME, EMBEDDINGS_NAMES[0]) and _local_path(name) is None and is_hub_name(name)
    if revision is not None and not is_hub_id:
        raise InvalidParameterError(
            "revision", f"is for models of the Hub, and {name!r} isn't one.", fix="Leave it out."
        )
    if name == DEFAULT_NAME:
        return _default(settings, local_only)
    if name in EMBEDDINGS_NAMES and revision is None:
        return _default_embeddings(name, settings, local_only)
    if not is_hub_id and _local_path(name) is None:
        raise _unknown(name)
    files = _from_outside(name, revision, settings, local_only)
    examine(files.folder, name)
    return files


def _from_outside(name: str, revision: str | None, settings: Settings, local_only: bool) -> ModelFiles:
    if (path := _local_path(name)) is not None:
        return _gguf(name, path, settings) if path.is_file() else ModelFiles(name, path.resolve(), str(path), "")
    folder, commit = fetch(name, revision, local_only=local_only)
    return ModelFiles(name, folder, f"Hub: {name}", commit)


def is_hub_name(name: str) -> bool:
    """Whether a name has the form of a Hub id, `model` or `owner/model`; one that ends in .gguf means a file."""
    return _HUB_ID.fullmatch(name) is not None and not any(part in name for part in ("..", "--", ".gguf"))


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.strip():
        raise InvalidParameterError("model", "must be a name.", fix=f"`{DEFAULT_NAME}` is the embedded model.")
    if len(name) > _MAX_NAME_CHARACTERS or not name.isprintable():
        raise InvalidParameterError("model", "is too long or holds characters that no name has.")


def _local_path(name: str) -> Path | None:
    """The folder or GGUF file that a name stands for, or None. A folder counts when it holds a config.json."""
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return path if (path / "config.json").is_file() else None
        return path if path.suffix == ".gguf" and path.is_file() else None
    except OSError:  # a name too long for the file system
        return None


def _default(settings: Settings, local_only: bool) -> ModelFiles:
    if local_only and not default.is_default_ready(settings):
        raise NotFoundError("The default model isn't here yet.", fix="Get it with: handful models pull default")
    folder = default.ensure_default(settings)
    return _made_files(DEFAULT_NAME, folder)


def _default_embeddings(name: str, settings: Settings, local_only: bool) -> ModelFiles:
    if local_only and not default_embeddings.is_default_embeddings_ready(settings):
        fix = f"Get it with: handful models pull {EMBEDDINGS_NAMES[0]}"
        raise NotFoundError("The default model for representations isn't here yet.", fix=fix)
    return _made_files(name, default_embeddings.ensure_default_embeddings(settings))


def _gguf(name: str, path: Path, settings: Settings) -> ModelFiles:
    """A GGUF file, converted once: again when the file's path, size or time of change is another."""
    path = path.resolve()
    state = path.stat()
    identity = hashlib.sha256(f"{path}\0{state.st_size}\0{state.st_mtime_ns}".encode()).hexdigest()
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem)[:80].strip(".-") or "model"
    made_from = {"source": str(path), "revision": f"{state.st_size}-{state.st_mtime_ns}", "format": FORMAT}

    def make(folder: Path) -> None:
        examine(path, name)
        with progress_bar(f"Converting {path.name}") as advance:
            convert_gguf(path, folder, advance)

    return _made_files(name, made_folder(settings.cache_folder / "models" / f"{stem}-{identity[:16]}", made_from, make))


def _made_files(name: str, folder: Path) -> ModelFiles:
    made_from = read_marker(folder).get("made_from", {})
    return ModelFiles(name, folder, str(made_from.get("source", "")), str(made_from.get("revision", "")))


def _unknown(name: str) -> NotFoundError:
    """What to tell someone whose name is neither a model's folder or file nor a Hub id."""
    path = Path(name).expanduser()
    if path.is_dir():
        ggufs = sorted(path.glob("*.gguf"))
        fix = f"Name the file: {ggufs[0]}" if ggufs else "A model's folder holds config.json, weights and a tokenizer."
        return NotFoundError(f"The folder {name} holds no config.json.", fix=fix)
    if path.suffix == ".gguf" or name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name:
        return NotFoundError(f"There is no folder or GGUF file {name}.", fix="Check the path.")
    return NotFoundError(
        f"{name!r} is not the name of a model.",
        fix="Use `default`, a folder, a .gguf file, or a Hub id like EleutherAI/gpt-neo-125m.",
    )
