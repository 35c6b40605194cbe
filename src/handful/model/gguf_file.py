"""A GGUF file, read with nothing trusted: metadata, and tensors as memory-mapped blocks.

Invariant: every count, length, offset and product read from the file is compared with the file's size before it is
used, so a damaged or hostile file ends in `CheckpointError` and never allocates more than a small multiple of its own
header. The layout is that of the GGUF specification, versions 2 and 3 (github.com/ggml-org/ggml, docs/gguf.md).
"""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from handful.errors import CheckpointError, NotFoundError

Value = str | int | float | bool | list[str] | list[int] | list[float] | list[bool]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
# value type of the specification -> (struct code, numpy type)
_SCALARS: dict[int, tuple[str, str]] = {
    0: ("<B", "<u1"),
    1: ("<b", "<i1"),
    2: ("<H", "<u2"),
    3: ("<h", "<i2"),
    4: ("<I", "<u4"),
    5: ("<i", "<i4"),
    6: ("<f", "<f4"),
    7: ("<?", "?"),
    10: ("<Q", "<u8"),
    11: ("<q", "<i8"),
    12: ("<d", "<f8"),
}
_MIN_KEY_BYTES = 8 + 4 + 1  # length of the key, type, a value of one byte
_MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8  # length of the name, dimensions, one of them, type, offset
_MAX_NAME_BYTES = 65535
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 1 << 20
_MAX_ITEMS = 1 << 23  # of one array; the largest vocabularies have 2**18 tokens
_DEFAULT_ALIGNMENT = 32
FIX = "Download the file again, or take another one."


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: `shape` is row-major (rows first, as in torch); `start` and `num_bytes` are positions in the file."""

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    num_bytes: int


class _Cursor:
    """Reads forward through a buffer and refuses to leave it."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = 0

    @property
    def num_bytes_left(self) -> int:
        return len(self._data) - self.position

    def take(self, num_bytes: int) -> bytes:
        if num_bytes > self.num_bytes_left:
            raise CheckpointError(f"it ends at byte {len(self._data)} in the middle of its header", fix=FIX)
        start, self.position = self.position, self.position + num_bytes
        return self._data[start : self.position]

    def scalar(self, kind: int) -> int | float | bool:
        code, _ = _SCALARS[kind]
        value: int | float | bool = struct.unpack(code, self.take(struct.calcsize(code)))[0]
        return value

    def integer(self, kind: int) -> int:
        return int(self.scalar(kind))

    def count(self, min_bytes_each: int, what: str) -> int:
        """A 64-bit count of things that have at least `min_bytes_each` bytes each in the rest of the file."""
        count = self.integer(10)
        if count * min_bytes_each > self.num_bytes_left:
            raise CheckpointError(f"its header counts {count} {what}, more than the file can hold", fix=FIX)
        return count

    def text(self, max_bytes: int | None = None) -> str:
        num_bytes = self.count(1, "bytes of text")
        if max_bytes is not None and num_bytes > max_bytes:
            raise CheckpointError(f"a name in its header has {num_bytes} bytes", fix=FIX)
        return self.take(num_bytes).decode("utf-8")

    def value(self) -> Value:
        kind = self.integer(4)
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise CheckpointError(f"its header holds a value of the unknown type {kind}", fix=FIX)
        return self.scalar(kind)

    def _array(self) -> Value:
        kind = self.integer(4)
        if kind != _STRING and kind not in _SCALARS:
            raise CheckpointError(f"its header holds an array of the type {kind}, which isn't read", fix=FIX)
        item = np.dtype(_SCALARS[kind][1]) if kind != _STRING else None
        count = self.count(item.itemsize if item else 8, "items")
        if count > _MAX_ITEMS:
            raise CheckpointError(f"its header holds an array of {count} items; at most {_MAX_ITEMS} are read", fix=FIX)
        if item is None:
            return [self.text() for _ in range(count)]
        values: list[int] | list[float] = np.frombuffer(self.take(count * item.itemsize), item).tolist()
        return values


class GgufFile:
    """The metadata and tensors of one GGUF file.

    Raises NotFoundError when there is no such file, CheckpointError when it is damaged, of another version, or one
    part of a split model. Use it as a context manager, or `close()` it: it maps the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = _mapped(path)
        try:
            self._read()
        except CheckpointError as problem:
            self.close()
            raise CheckpointError(f"{path.name} can't be read: {problem.message}.", fix=problem.fix) from None
        except (struct.error, ValueError, OverflowError) as problem:  # text that isn't UTF-8, a type gguf doesn't name
            self.close()
            raise CheckpointError(f"{path.name} can't be read: its header is damaged ({problem}).", fix=FIX) from None

    def _read(self) -> None:
        cursor = _Cursor(self._map)
        if cursor.take(4) != _MAGIC:
            raise CheckpointError("it isn't a GGUF file", fix="Give a file whose first bytes are `GGUF`.")
        version = cursor.integer(4)
        if version not in _VERSIONS:
            raise CheckpointError(f"it has version {version}; versions 2 and 3 (little-endian) are read", fix=FIX)
        num_tensors = cursor.integer(10)
        self.metadata = _read_metadata(cursor)
        if num_tensors * _MIN_TENSOR_BYTES > cursor.num_bytes_left:
            raise CheckpointError(f"its header counts {num_tensors} tensors, more than the file can hold", fix=FIX)
        infos = [_read_tensor_info(cursor) for _ in range(num_tensors)]
        alignment = self.metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
            raise CheckpointError(f"its alignment is {alignment!r}, not a power of two", fix=FIX)
        data_start = -(-cursor.position // alignment) * alignment
        self.tensors = _place_tensors(infos, data_start, alignment, len(self._map))

    def rows(self, tensor: GgufTensor) -> NDArray[np.uint8]:
        """The tensor's bytes as stored, `[rows, bytes of a row]`, mapped from the file (read-only, no copy)."""
        num_rows = math.prod(tensor.shape[:-1])
        raw = np.frombuffer(self._map, np.uint8, count=tensor.num_bytes, offset=tensor.start)
        return raw.reshape(num_rows, tensor.num_bytes // num_rows)

    def close(self) -> None:
        """Unmap the file. Arrays of `rows` that are still used keep it mapped. Idempotent."""
        try:
            self._map.close()
        except BufferError:  # an array still looks into the map: it is unmapped with that array
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.", fix="Check the path.") from None
    except ValueError:  # mmap can't map nothing
        raise CheckpointError(f"{path.name} is empty.", fix=FIX) from None
    except OSError as problem:
        raise CheckpointError(f"{path.name} can't be opened: {problem.strerror}.", fix="Check the path.") from None


def _read_metadata(cursor: _Cursor) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(cursor.count(_MIN_KEY_BYTES, "keys")):
        key = cursor.text(_MAX_NAME_BYTES)
        if key in metadata:
            raise CheckpointError(f"its header has the key {key!r} twice", fix=FIX)
        metadata[key] = cursor.value()
    if isinstance(parts := metadata.get("split.count"), int) and parts > 1:
        raise CheckpointError(f"it is one of {parts} parts", fix="Merge the parts first (gguf-split --merge).")
    return metadata


def _read_tensor_info(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape (row-major), type and offset in the data section, as the file has them."""
    name = cursor.text(_MAX_NAME_BYTES)
    num_dimensions = cursor.integer(4)
    if not 1 <= num_dimensions <= _MAX_DIMENSIONS:
        raise CheckpointError(f"tensor {name!r} has {num_dimensions} dimensions", fix=FIX)
    shape = tuple(cursor.integer(10) for _ in range(num_dimensions))[::-1]
    return name, shape, cursor.integer(4), cursor.integer(10)


def _place_tensors(
    infos: list[tuple[str, tuple[int, ...], int, int]], data_start: int, alignment: int, file_bytes: int
) -> dict[str, GgufTensor]:
    """Where each tensor lies, or CheckpointError when one leaves the file, isn't aligned, or overlaps another."""
    tensors: dict[str, GgufTensor] = {}
    for name, shape, kind, offset in infos:
        if name in tensors:
            raise CheckpointError(f"it has the tensor {name!r} twice", fix=FIX)
        kind_name, num_bytes = _stored_size(name, shape, kind)
        start = data_start + offset
        if offset % alignment or start + num_bytes > file_bytes:
            raise CheckpointError(f"tensor {name!r} ends at byte {start + num_bytes} of {file_bytes}", fix=FIX)
        tensors[name] = GgufTensor(name, shape, kind_name, start, num_bytes)
    end = data_start
    for tensor in sorted(tensors.values(), key=lambda placed: placed.start):
        if tensor.start < end:
            raise CheckpointError(f"tensor {tensor.name!r} overlaps another", fix=FIX)
        end = tensor.start + tensor.num_bytes
    return tensors


def _stored_size(name: str, shape: tuple[int, ...], kind: int) -> tuple[str, int]:
    """The name of a tensor's type and the bytes that it takes: whole blocks in each row."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    stored = GGMLQuantizationType(kind)
    block_size, block_bytes = GGML_QUANT_SIZES[stored]
    if min(shape) < 1 or shape[-1] % block_size:
        raise CheckpointError(f"tensor {name!r} has the shape {list(shape)}, not whole blocks of {block_size}", fix=FIX)
    return stored.name, math.prod(shape) // block_size * block_bytes
