"""Engines as processes: loaded once, stopped between rounds, timed by the request or by the round."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.engines import CannotRun, Launch, prepare
from peers.pipe import Round, first_alone
from peers.worker import Worker

ENGINE = """
import sys
from peers.pipe import serve
class Echo:
    def __init__(self): self.num_forgotten = 0; print("noise on standard output")
    def version(self): return "echo 1"
    def forget(self): self.num_forgotten += 1
    def run(self, work):
        if not work.ids: sys.exit(3)
        return [[len(ids), self.num_forgotten] for ids in work.ids]
serve(Echo)
"""


def work(*lengths: int, one_by_one: bool = False) -> Round:
    return Round([[1] * n for n in lengths], [""] * len(lengths), 1, [], one_by_one, shared=True)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    started = Worker(Launch("echo", [sys.executable, "-c", ENGINE]), tmp_path)
    yield started
    started.close()


def stands_still(worker: Worker) -> bool:
    """Whether the process gets to be stopped: the signal takes its time."""
    for _ in range(1000):
        if Path(f"/proc/{worker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
            return True
        time.sleep(0.01)
    return False


def test_a_round_has_one_time_and_requests_one_by_one_have_one_each(worker: Worker) -> None:
    together, tokens = worker.run(work(2, 3))
    apart, _ = worker.run(work(2, 3), forget=False)
    singly, same = worker.run(work(2, 3, one_by_one=True), forget=False)
    assert (len(together), len(apart), len(singly)) == (1, 1, 2)
    assert tokens == same == [[2, 1], [3, 1]]
    assert worker.version == "echo 1"


def test_its_memory_is_known(worker: Worker) -> None:
    assert worker.peak_mb() > 1


def test_it_ends_when_it_is_told(worker: Worker) -> None:
    worker.close()
    assert worker.process.returncode == 0


def test_an_engine_that_is_not_asked_stands_still(worker: Worker) -> None:
    assert stands_still(worker)
    worker.run(work(1))
    assert stands_still(worker)


def test_an_engine_that_ends_is_reported_with_its_log(worker: Worker) -> None:
    with pytest.raises(CannotRun, match=r"ended; see .*echo\.txt"):
        worker.run(work())
    assert "noise on standard output" in worker.log.read_text()


def test_a_model_that_an_engine_does_not_have_is_told(tmp_path: Path) -> None:
    for name in ("vllm", "llama.cpp"):
        with pytest.raises(CannotRun, match="has no GPT-Neo"):
            prepare(name, "gpt-neo-125m-shape", tmp_path)


def test_the_first_prompt_goes_ahead_only_where_prompts_share_something() -> None:
    assert first_alone([[1], [2], [3]], shared=True) == [[[1]], [[2], [3]]]
    assert first_alone([[1], [2]], shared=False) == [[[1], [2]]]
    assert first_alone([[1]], shared=True) == [[[1]]]
