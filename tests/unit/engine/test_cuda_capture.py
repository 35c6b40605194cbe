"""What is asked of CUDA to record a step, in which order. CUDA itself: tests/parity/test_gpu.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from handful.engine.cuda_capture import CudaCapture


@dataclass
class Stream:
    """A stream by its name."""

    name: str
    log: list[str]

    def wait_stream(self, other: "Stream") -> None:
        self.log.append(f"{self.name} waits for {other.name}")


@dataclass
class Cuda:
    """As much of `torch.cuda` as recording uses. A graph's recording doesn't put the stream back when it fails."""

    log: list[str] = field(default_factory=list)
    current: Any = None

    def __post_init__(self) -> None:
        self.current = Stream("own", self.log)

    def current_stream(self) -> Stream:
        return self.current  # type: ignore[no-any-return]

    def new_stream(self) -> Stream:
        return Stream("beside", self.log)

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: Any, pool: str, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        self.log.append(f"record in {pool}, {capture_error_mode}")
        before, self.current = self.current, stream
        yield
        self.log.append("recorded")
        self.current = before

    def new_graph(self) -> Any:
        log = self.log

        class Graph:
            def replay(self) -> None:
                log.append("replay")

        return Graph()

    def graph_pool_handle(self) -> str:
        return "the pool"


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    made = Cuda()
    monkeypatch.setattr(torch.cuda, "Stream", made.new_stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", made.new_graph)
    for name in ("current_stream", "stream", "graph", "graph_pool_handle"):
        monkeypatch.setattr(torch.cuda, name, getattr(made, name))
    return made


def test_a_step_runs_once_beside_then_it_is_recorded_there_then_only_replayed(cuda: Cuda) -> None:
    result = torch.zeros(1)

    def run() -> torch.Tensor:
        cuda.log.append(f"run on {cuda.current.name}")
        return result

    replay = CudaCapture()(run)
    assert cuda.log == [
        "beside waits for own",
        "run on beside",
        "own waits for beside",
        "record in the pool, thread_local",
        "run on beside",
        "recorded",
    ]
    assert [replay(), replay()] == [result, result]
    assert cuda.log[6:] == ["replay", "replay"]


def test_after_a_recording_that_failed_the_engine_is_on_its_own_stream_and_others_can_record(cuda: Cuda) -> None:
    def fails_while_recording() -> torch.Tensor:
        if any(line.startswith("record") for line in cuda.log):
            raise RuntimeError("not while recording")
        return torch.zeros(1)

    with pytest.raises(RuntimeError, match="not while recording"):
        CudaCapture()(fails_while_recording)
    assert cuda.current.name == "own"
    cuda.log.clear()
    assert CudaCapture()(lambda: torch.ones(1))().tolist() == [1]
