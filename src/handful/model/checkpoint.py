"""The tensors of a local folder: safetensors (one file or shards), or `pytorch_model.bin` without code in it.

Invariant: nothing in a checkpoint is executed, no file outside the folder is opened, and nothing is copied until
`tensor` is called: files are memory-mapped. Whatever is wrong with a file ends in `CheckpointError`, which names it.
"""

import json
import pickle
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from safetensors import SafetensorError, safe_open

from handful.errors import CheckpointError, NotFoundError

if TYPE_CHECKING:  # torch takes seconds to import, which naming and listing models need not pay
    from torch import Tensor

INDEX_SUFFIX = ".index.json"
SAFETENSORS, PYTORCH = "model.safetensors", "pytorch_model.bin"
MAX_JSON_BYTES = 64 << 20
REOPENED_AFTER_BYTES = 64 << 20
_FIX = "Delete the file and download it again."


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """What a JSON file of a checkpoint holds.

    Raises CheckpointError when it isn't JSON or is larger than `max_bytes`; NotFoundError when it isn't there.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise CheckpointError(f"{path.name} is larger than {max_bytes >> 20} MiB.", fix=_FIX)
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"There is no {path.name} in {path.parent}.", fix="Check the folder.") from None
    except (ValueError, RecursionError) as problem:
        raise CheckpointError(f"{path.name} is not JSON: {problem}.", fix=_FIX) from None
    except OSError as problem:
        raise CheckpointError(f"{path.name} can't be read: {problem.strerror}.", fix=_FIX) from None


def read_json_object(path: Path, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint. Raises as `read_json`, and CheckpointError for another value."""
    value = read_json(path, max_bytes)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name} holds {type(value).__name__}, not an object.", fix=_FIX)
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """A model's `config.json`. Keys that name code (`auto_map`) are data like any other; nobody runs them.

    Raises NotFoundError, CheckpointError.
    """
    return read_json_object(folder / "config.json", max_bytes=4 << 20)


def has_weights(folder: Path) -> bool:
    """Whether there is something for `Checkpoint` to open."""
    names = (SAFETENSORS, PYTORCH)
    return any((folder / name).exists() or (folder / (name + INDEX_SUFFIX)).exists() for name in names)


def no_weights(folder: Path) -> NotFoundError:
    """The error for a folder without any."""
    return NotFoundError(
        f"{folder} holds no weights ({SAFETENSORS} or {PYTORCH}).", fix="Check the folder, or pull it again."
    )


class Checkpoint:
    """Names, shapes and lazily read tensors of a model's folder.

    Looks for `model.safetensors`, `model.safetensors.index.json`, `pytorch_model.bin`, `pytorch_model.bin.index.json`,
    in this order. With the framework `np`, torch isn't imported for safetensors, and there are no tensors, only names
    and shapes. Raises NotFoundError when there is none, CheckpointError when one is damaged or incomplete.
    """

    def __init__(self, folder: Path, framework: Literal["pt", "np"] = "pt") -> None:
        self.folder = folder
        self._framework = framework
        self._files: dict[Path, _SafetensorsFile | _PytorchFile] = {}
        self._where: dict[str, Path] = {}
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        read_safetensors = partial(_SafetensorsFile, framework=self._framework)
        for name, reader in ((SAFETENSORS, read_safetensors), (PYTORCH, _PytorchFile)):
            if (single := self.folder / name).exists():
                self._files[single] = reader(single)
                self._where = dict.fromkeys(self._files[single].names, single)
                return
            if (index := self.folder / (name + INDEX_SUFFIX)).exists():
                self._open_shards(index, Path(name).suffix, reader)
                return
        raise no_weights(self.folder)

    def _open_shards(
        self, index: Path, suffix: str, reader: Callable[[Path], "_SafetensorsFile | _PytorchFile"]
    ) -> None:
        """Open every shard that the index names and check that each holds the tensors that the index says."""
        weight_map = read_json_object(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index.name} has no `weight_map`.", fix=_FIX)
        for name, shard in weight_map.items():
            if not isinstance(shard, str) or not _is_plain_file_name(shard, suffix):
                raise CheckpointError(f"{index.name} names {shard!r}, not a {suffix} file beside it.", fix=_FIX)
            path = self.folder / shard
            if path not in self._files:
                self._files[path] = reader(path)
            if name not in self._files[path].names:
                raise CheckpointError(f"{shard} lacks the tensor {name!r} that {index.name} promises.", fix=_FIX)
            self._where[name] = path

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors' names, sorted."""
        return tuple(sorted(self._where))

    def __contains__(self, name: object) -> bool:
        return name in self._where

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it. CheckpointError when there is no such tensor."""
        return self._file(name).shape(name)

    def tensor(self, name: str) -> "Tensor":
        """A tensor in the type it is stored in, on the CPU, mapped from the file: don't write to it.

        Raises CheckpointError when there is no such tensor or the file can't be read any more.
        """
        return self._file(name).tensor(name)

    @property
    def num_bytes(self) -> int:
        """The size of all files together."""
        return sum(path.stat().st_size for path in self._files)

    def close(self) -> None:
        """Let go of the files. Tensors already handed out stay valid. Idempotent."""
        self._files.clear()
        self._where.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _file(self, name: str) -> "_SafetensorsFile | _PytorchFile":
        if name not in self._where:
            raise CheckpointError(
                f"The checkpoint in {self.folder} lacks the tensor {name!r}.",
                fix="Its config.json may belong to another model; pull the model again.",
            )
        return self._files[self._where[name]]


def _is_plain_file_name(name: str, suffix: str) -> bool:
    """Whether it names a file of the folder itself: no separators, nothing that climbs out of it."""
    return name.endswith(suffix) and "/" not in name and "\\" not in name and "\0" not in name


class _SafetensorsFile:
    """One .safetensors file; its library checks the header's offsets against the file's size.

    It is opened anew after so many bytes: what was read stays in memory as long as its mapping does, and a mapping as
    long as the last tensor that lies in it.
    """

    def __init__(self, path: Path, framework: Literal["pt", "np"]) -> None:
        self._path, self._framework = path, framework
        self._open()
        self._identity = _identity(path)
        self.names = frozenset(self._opened.keys())

    def _open(self) -> None:
        try:
            opened: Any = safe_open(self._path, framework=self._framework)  # `Any`: its methods have no annotations
        except FileNotFoundError:
            raise _missing(self._path) from None
        except (SafetensorError, OSError, ValueError) as problem:
            raise _damaged(self._path, problem) from None
        self._opened, self._num_read = opened, 0

    def _open_anew(self) -> None:
        self._open()
        if _identity(self._path) != self._identity:
            raise CheckpointError(f"{self._path} changed while it was read.", fix="Load the model again.")

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._opened.get_slice(name).get_shape())

    def tensor(self, name: str) -> "Tensor":
        if self._num_read >= REOPENED_AFTER_BYTES:
            self._open_anew()
        try:
            tensor: Tensor = self._opened.get_tensor(name)
        except (SafetensorError, OSError, ValueError, AttributeError) as problem:  # a type torch doesn't have
            raise _damaged(self._path, problem) from None
        self._num_read += tensor.nbytes
        return tensor


def _identity(path: Path) -> tuple[int, ...]:
    """Which file it is, in which state."""
    try:
        found = path.stat()
    except OSError:
        raise _missing(path) from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class _PytorchFile:
    """One file of `torch.save`, unpickled with `weights_only`: tensors and plain containers, no other class."""

    def __init__(self, path: Path) -> None:
        from torch import Tensor

        tensors = _load_pickled(path)
        if not isinstance(tensors, Mapping) or not all(
            isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
        ):
            raise CheckpointError(f"{path.name} is not a mapping from names to tensors.", fix="Use safetensors files.")
        self._tensors: Mapping[str, Tensor] = tensors
        self.names = frozenset(tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name].shape)

    def tensor(self, name: str) -> "Tensor":
        return self._tensors[name]


def _load_pickled(path: Path) -> object:
    """`torch.load` that can't run code; mapped where the file is a zip archive, read where it is older than that."""
    import torch

    try:
        with path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of what it then refuses; the error says it
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except FileNotFoundError:
        raise _missing(path) from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path.name} holds something other than tensors, which may be code; it is not loaded.",
            fix="Use a checkpoint in safetensors format.",
        ) from None
    # A damaged archive surfaces as almost any of these, depending on where the damage is.
    except (RuntimeError, OSError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError) as problem:
        raise _damaged(path, problem) from None


def _missing(path: Path) -> CheckpointError:
    return CheckpointError(f"The file {path.name} is missing in {path.parent}.", fix="Pull the model again.")


def _damaged(path: Path, problem: Exception) -> CheckpointError:
    first_line = str(problem).partition("\n")[0][:200]
    return CheckpointError(f"{path} is damaged or incomplete ({first_line}).", fix=_FIX)
