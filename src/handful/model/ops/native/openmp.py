"""The OpenMP runtime that torch has brought.

The runtime keeps a pool for every thread that has computed something. Its workers wait actively for the next piece of
work, which a step of a small model hands them every 50 microseconds. But once there are more of them than cores, all go
to sleep at once instead, and waking them takes longer than the work: on 2 cores a token took 33 ms instead of 17. So
the thread that has loaded a model lets its workers go before another computes.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch

_SOFT = 1  # omp_pause_soft: the next parallel region makes a new pool


@cache
def openmp() -> ctypes.CDLL | None:
    """torch's runtime with its symbols visible to libraries loaded later, or None where there is none."""
    folder = Path(torch.__file__).parent / "lib"
    beside = folder.parent.parent / "torch.libs"
    for pattern in ("libgomp*.so*", "libiomp5*.so*", "libomp*.so*"):
        for found in sorted([*folder.glob(pattern), *beside.glob(pattern)]):
            return ctypes.CDLL(str(found), mode=ctypes.RTLD_GLOBAL)
    return None


def release_workers() -> None:
    """End the workers of the calling thread's pool; it must be in no parallel region. Does nothing without OpenMP."""
    pause = getattr(openmp(), "omp_pause_resource_all", None)
    if pause is not None:
        pause(_SOFT)
