"""Recording on a GPU: a CUDA graph of what was run. (Not yet run on hardware: decision 0081.)"""

import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

# torch records one graph at a time in a process; every model has an engine of its own.
_recording = threading.Lock()


class CudaCapture:
    """Records into CUDA graphs that share one stream and one pool of memory: only one of them runs at a time."""

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Run it once, which lets libraries set themselves up, then record it. Returns what replays it."""
        before = torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        # The outer `stream` brings the engine back to its own, also from a recording that fails half-way.
        with _recording, torch.cuda.stream(before):
            self._stream.wait_stream(before)
            with torch.cuda.stream(self._stream):
                run()
            before.wait_stream(self._stream)
            # thread_local: other threads may use the GPU meanwhile.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                result = run()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay

    @cached_property
    def _pool(self) -> Any:
        return torch.cuda.graph_pool_handle()

    @cached_property
    def _stream(self) -> Any:
        return torch.cuda.Stream()  # type: ignore[no-untyped-call]
