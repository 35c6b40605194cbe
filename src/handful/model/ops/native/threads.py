"""Which threads the native kernels compute on.

On a thread where torch computes, too (a model in float32, loading), it is the pool of the OpenMP runtime, as for torch.
Its workers all have to come before a piece of work counts as done, and they wait for the next one actively: on a core
that another process keeps busy the system lets them in milliseconds later, and a model ran at a fiftieth of its rate.
So where everything that takes time is a kernel, the kernels have helpers of their own (team.h), for whom nobody waits,
and torch's small operations run on the calling thread alone. Decision 0085.
"""

import threading

import torch

from handful.model.ops.native.loading import library
from handful.model.ops.native.openmp import openmp

_own = threading.local()


def num_threads() -> int:
    """How many threads a native kernel takes that is called on this thread."""
    count: int | None = getattr(_own, "count", None)
    return torch.get_num_threads() if count is None else count


def use_helpers() -> None:
    """From now on, on the calling thread: kernels are helped by threads of their own, torch's operations by none.

    Does nothing where the kernels weren't built.
    """
    native, runtime = library(), openmp()
    if native is None or runtime is None:
        return
    _own.count = num_threads()
    runtime.omp_set_num_threads(1)  # torch asks this thread's runtime
    native.functions.handful_use_helpers()
