"""The thread behind a model: what is computed together, what is refused, and that nothing is forgotten."""

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from handful.errors import BusyError, EngineError, InvalidInputError, NotReadyError, RequestAbortedError
from handful.server.nlp_batches import MAX_BATCH_ITEMS, Batcher

WAIT_S = 10


class Computing:
    """Doubles its items; keeps the batches. Holds the first batch until `go` is set."""

    def __init__(self) -> None:
        self.batches: list[tuple[Hashable, list[Any]]] = []
        self.has_begun, self.go = threading.Event(), threading.Event()

    def __call__(self, work: Hashable, items: Sequence[Any]) -> list[Any]:
        self.batches.append((work, list(items)))
        self.has_begun.set()
        assert self.go.wait(WAIT_S)
        if "bad" in items:
            raise InvalidInputError("An input is bad.")
        if "bug" in items:
            raise ZeroDivisionError
        return [item * 2 for item in items]


@contextmanager
def held(**options: Any) -> Iterator[tuple[Batcher, Computing]]:
    """A batcher whose thread is busy with a first job, so that what follows waits together."""
    computing = Computing()
    batcher = Batcher(computing, "test", **options)
    batcher.submit("first", ["x"], is_alone=True)
    assert computing.has_begun.wait(WAIT_S)
    yield batcher, computing
    computing.go.set()
    batcher.close(WAIT_S)


def test_requests_that_ask_for_the_same_share_a_batch() -> None:
    with held() as (batcher, computing):
        futures = [batcher.submit("same", [f"{i}", f"{i}'"]) for i in range(3)]
        computing.go.set()
        assert [future.result(WAIT_S) for future in futures] == [["00", "0'0'"], ["11", "1'1'"], ["22", "2'2'"]]
        assert computing.batches[1:] == [("same", ["0", "0'", "1", "1'", "2", "2'"])]


def test_other_work_and_work_that_is_alone_does_not() -> None:
    with held() as (batcher, computing):
        futures = [
            batcher.submit("a", ["1"]),
            batcher.submit("b", ["2"]),
            batcher.submit("a", ["3"], is_alone=True),
            batcher.submit("a", ["4"]),
        ]
        computing.go.set()
        assert [future.result(WAIT_S) for future in futures] == [["11"], ["22"], ["33"], ["44"]]
        assert computing.batches[1:] == [("a", ["1", "4"]), ("b", ["2"]), ("a", ["3"])]


def test_a_batch_has_a_largest_size_but_takes_one_request_whatever_its_size() -> None:
    with held() as (batcher, computing):
        many = batcher.submit("a", ["m"] * (MAX_BATCH_ITEMS + 1))
        futures = [batcher.submit("a", ["1"] * (MAX_BATCH_ITEMS - 1)) for _ in range(2)]
        computing.go.set()
        assert len(many.result(WAIT_S)) == MAX_BATCH_ITEMS + 1
        assert [len(future.result(WAIT_S)) for future in futures] == [MAX_BATCH_ITEMS - 1] * 2
        assert [len(items) for _, items in computing.batches[1:]] == [65, 63, 63]


@pytest.mark.parametrize(("item", "error"), [("bad", InvalidInputError), ("bug", EngineError)])
def test_a_bad_request_fails_alone(item: str, error: type[Exception]) -> None:
    with held() as (batcher, computing):
        good, bad, late = (batcher.submit("a", [each]) for each in ("good", item, "late"))
        computing.go.set()
        assert (good.result(WAIT_S), late.result(WAIT_S)) == (["goodgood"], ["latelate"])
        with pytest.raises(error):
            bad.result(WAIT_S)
        assert batcher.num_failed == 1


def test_past_the_bound_it_is_refused_at_once() -> None:
    with held(max_waiting_items=3) as (batcher, computing):
        waiting = batcher.submit("a", ["1", "2"])
        with pytest.raises(BusyError):
            batcher.submit("a", ["3", "4"])
        assert batcher.num_waiting == 2
        computing.go.set()
        assert waiting.result(WAIT_S) == ["11", "22"]


def test_a_request_that_is_larger_than_the_bound_is_taken_when_nothing_waits() -> None:
    with held(max_waiting_items=1) as (batcher, computing):
        large = batcher.submit("a", ["1", "2"])
        computing.go.set()
        assert large.result(WAIT_S) == ["11", "22"]


def test_who_has_left_is_not_worked_for() -> None:
    with held() as (batcher, computing):
        gone, there = batcher.submit("a", ["gone"]), batcher.submit("a", ["there"])
        assert gone.cancel()
        computing.go.set()
        assert there.result(WAIT_S) == ["therethere"]
        assert computing.batches[1:] == [("a", ["there"])]


def test_a_model_that_gives_too_few_answers_is_an_error() -> None:
    def compute(work: Hashable, items: Sequence[Any]) -> list[Any]:
        return []

    batcher = Batcher(compute, "test")
    with pytest.raises(EngineError, match="another number"):
        batcher.submit("a", ["1"]).result(WAIT_S)
    batcher.close(WAIT_S)


def test_closing_finishes_what_was_taken() -> None:
    with held() as (batcher, computing):
        waiting = [batcher.submit(work, ["1"]) for work in ("a", "b")]
        closing = threading.Thread(target=batcher.close, args=(WAIT_S,))
        closing.start()
        computing.go.set()
        assert [future.result(WAIT_S) for future in waiting] == [["11"], ["11"]]
        closing.join(WAIT_S)
        assert not batcher.is_alive


def test_closing_gives_up_what_waits_when_the_time_is_over() -> None:
    with held() as (batcher, _):
        waiting = batcher.submit("a", ["1"])
        batcher.close(timeout_s=0)
        with pytest.raises(RequestAbortedError):
            waiting.result(WAIT_S)
        with pytest.raises(NotReadyError):
            batcher.submit("a", ["2"])
        assert not batcher.is_alive


def test_it_says_how_long_a_batch_takes() -> None:
    with held() as (batcher, _):
        assert batcher.seconds_since_step > 0
        assert batcher.num_running == 1
    assert (batcher.seconds_since_step, batcher.num_running) == (0.0, 0)
