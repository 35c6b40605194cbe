"""Between the host and the device that a model runs on: what is sent doesn't wait, what is fetched waits once.

Nothing else in a step may wait for a GPU: an `.item()`, `.tolist()`, a boolean mask as an index or a copy from ordinary
memory each stop the host until all work so far is done, and the GPU then idles while the next step is prepared. On the
processor nothing here copies.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def send(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """An array as a tensor on `device`. Nobody waits for the copy; on the processor the memory is shared."""
    return _sendable(array, device).to(device, non_blocking=True)


def refill(there: Tensor, array: NDArray[np.generic]) -> None:
    """Put an array's values in the place of a tensor's. Nobody waits for the copy."""
    there.copy_(_sendable(array, there.device), non_blocking=True)


def _sendable(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """The array in pinned memory where that matters; torch keeps it until the copy is done."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory() if device.type == "cuda" else tensor


def fetch(*tensors: Tensor) -> list[Tensor]:
    """Tensors of one device in the host's memory: the one place where a step waits, once for all of them."""
    if not tensors or tensors[0].device.type != "cuda":
        return [tensor.cpu() for tensor in tensors]
    fetched = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
    for here, there in zip(fetched, tensors, strict=True):
        here.copy_(there, non_blocking=True)
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return fetched


def pick(values: Tensor, rows: list[int]) -> Tensor:
    """`values[rows]`: a view where the rows follow one another."""
    first = rows[0] if rows else 0
    end = first + len(rows)
    if rows == list(range(first, end)):
        return values[first:end]
    return values.index_select(0, send(np.asarray(rows, dtype=np.int64), values.device))
