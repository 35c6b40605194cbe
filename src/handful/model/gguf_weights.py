"""A GGUF file's tensors, one at a time and a few rows at a time, as a safetensors file in Hugging Face layout.

Invariant: memory holds one block of rows (64 MiB), or one matrix where it must be transposed, whatever the model's
size. Quantised tensors become bfloat16, the others keep their type.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from handful.errors import CheckpointError
from handful.model.gguf_architectures import Change
from handful.model.gguf_file import FIX, GgufFile
from handful.model.gguf_plan import KEPT_TYPES, PlannedTensor

_BLOCK_ELEMENTS = 1 << 24
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def write_weights(
    path: Path, file: GgufFile, tensors: Sequence[PlannedTensor], progress: Callable[[int, int], None]
) -> None:
    """Write `tensors` of `file` as safetensors, synced to disk. `progress(bytes written, bytes in all)`.

    Raises CheckpointError for a type that isn't read and for values that aren't finite; OSError when the disk is full.
    """
    total, written = sum(tensor.num_bytes for tensor in tensors), 0
    with path.open("wb") as output:
        output.write(_header(tensors))
        for tensor in tensors:
            for block in _blocks(file, tensor):
                written += output.write(block.contiguous().view(torch.uint8).numpy().data)
                progress(written, total)
        output.flush()
        os.fsync(output.fileno())


def _header(tensors: Sequence[PlannedTensor]) -> bytes:
    """The safetensors header: its length, then JSON with each tensor's type, shape and place, padded to 8 bytes."""
    described: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for tensor in tensors:
        end = start + tensor.num_bytes
        offsets = {"data_offsets": [start, end]}
        described[tensor.name] = {"dtype": tensor.kind, "shape": list(tensor.shape)} | offsets
        start = end
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _blocks(file: GgufFile, tensor: PlannedTensor) -> Iterator[torch.Tensor]:
    """The tensor in its new layout, as consecutive runs of rows."""
    source = tensor.source
    rows = file.rows(source)
    if tensor.change is Change.TRANSPOSED and len(source.shape) == 2:
        yield _values(rows, tensor).T
        return
    order = _row_order(tensor)
    if order is not None and len(source.shape) == 1:  # a bias: each of its values belongs to one row of the weight
        rows = rows.reshape(source.shape[0], -1)
    step = max(1, _BLOCK_ELEMENTS // source.shape[-1])
    for start in range(0, len(rows), step):
        chosen = slice(start, start + step) if order is None else order[start : start + step]
        yield _values(rows[chosen], tensor)


def _row_order(tensor: PlannedTensor) -> NDArray[np.int64] | None:
    """The source's row for each written row, or None where the order stays."""
    heads = tensor.num_heads
    num_rows = tensor.source.shape[0]
    if tensor.change in (Change.NONE, Change.TRANSPOSED):
        return None
    parts = 2 if tensor.change in (Change.ROTARY_QUERY, Change.ROTARY_KEY) else 3
    if num_rows % (heads * parts):
        raise CheckpointError(f"tensor {tensor.source.name!r} has {num_rows} rows for {heads} heads", fix=FIX)
    rows = np.arange(num_rows)
    if parts == 2:
        return rows.reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1)
    return rows.reshape(3, heads, -1).swapaxes(0, 1).reshape(-1)


def _values(rows: NDArray[np.uint8], tensor: PlannedTensor) -> torch.Tensor:
    """Stored rows as numbers in the type that is written. Non-finite values mean damage: no model has them."""
    from gguf import dequantize
    from gguf.constants import GGMLQuantizationType

    raw = np.array(rows)  # a copy in memory of our own: torch won't share a read-only map
    if tensor.source.kind in KEPT_TYPES:
        values = torch.from_numpy(raw).view(_DTYPES[tensor.kind])
    else:
        try:
            with np.errstate(all="ignore"):
                numbers = dequantize(raw, GGMLQuantizationType[tensor.source.kind])
        except NotImplementedError:
            raise CheckpointError(
                f"tensor {tensor.source.name!r} is stored as {tensor.source.kind}, which isn't read",
                fix="Take another quantisation.",
            ) from None
        values = torch.from_numpy(numbers).to(_DTYPES[tensor.kind])
    if not bool(torch.isfinite(values).all()):
        raise CheckpointError(f"tensor {tensor.source.name!r} holds values that aren't numbers", fix=FIX)
    return values
