"""Recorded steps: found again by their shapes, few, and given up for good when recording fails."""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from handful.engine import decode_graphs
from handful.engine.decode_graphs import DecodeGraphs, power_of_two
from handful.engine.step_reads import Array, LayerReads, OwnReads, Step
from tests.parity.engines import Recorder


def step(tokens: list[int], num_keys: int = 4, max_k: int = 8) -> Step[Array]:
    """As much of a step as recording looks at: arrays and their shapes."""
    own: OwnReads[Array] = OwnReads(np.arange(num_keys), np.zeros(1, np.int32), np.zeros(1, np.int32), 1, max_k)
    numbers = np.array(tokens)
    return Step(numbers, numbers, numbers, numbers, (LayerReads(None, own, ()),))


def graphs(capture: Callable[[Callable[[], Tensor]], Callable[[], Tensor]]) -> DecodeGraphs:
    return DecodeGraphs(lambda made: made.tokens * 10 + made.positions, capture, torch.device("cpu"))


@pytest.mark.parametrize(("size", "rounded"), [(0, 1), (1, 1), (2, 2), (3, 4), (8, 8), (9, 16), (256, 256)])
def test_sizes_are_rounded_up_to_powers_of_two(size: int, rounded: int) -> None:
    assert power_of_two(size) == rounded


def test_a_step_of_the_same_shapes_is_replayed_with_its_own_values() -> None:
    recorder = Recorder()
    made = graphs(recorder)
    found = [made.run(step(tokens)) for tokens in ([1, 2], [3, 4])]
    assert found[1] is not None
    assert found[1].tolist() == [33, 44]
    assert found[0] is found[1]  # the same place
    assert (recorder.num_recorded, recorder.num_replayed) == (1, 2)


def test_other_shapes_and_other_bounds_are_recorded_apart() -> None:
    recorder = Recorder()
    made = graphs(recorder)
    for each in (step([1, 2]), step([1, 2, 3]), step([1, 2], num_keys=5), step([1, 2], max_k=16)):
        made.run(each)
    assert recorder.num_recorded == made.num_recorded == 4


def test_what_was_used_longest_ago_leaves_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_graphs, "MAX_RECORDED", 2)
    recorder = Recorder()
    made = graphs(recorder)
    for length in (1, 2, 1, 3):  # 2 leaves
        made.run(step([5] * length))
    assert made.num_recorded == 2
    assert recorder.num_recorded == 3
    made.run(step([5]))
    assert recorder.num_recorded == 3
    made.run(step([5, 5]))
    assert recorder.num_recorded == 4


def test_a_failure_to_record_is_told_once_and_nothing_is_recorded_any_more(caplog: pytest.LogCaptureFixture) -> None:
    tried = []

    def fails(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        tried.append(run)
        raise RuntimeError("operation not permitted when stream is capturing")

    made = graphs(fails)
    with caplog.at_level(logging.WARNING):
        assert [made.run(step([1] * n)) for n in (1, 2, 1)] == [None] * 3
    assert len(tried) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "steps can't be recorded as CUDA graphs (operation not permitted when stream is capturing); "
        "decoding goes on without, slower"
    ]


def test_what_was_recorded_before_a_failure_is_still_replayed() -> None:
    recorder = Recorder()
    fail: list[bool] = []

    def sometimes(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        if fail:
            raise RuntimeError("out of memory")
        return recorder(run)

    made = graphs(sometimes)
    made.run(step([1]))
    fail.append(True)
    assert made.run(step([1, 2])) is None
    found = made.run(replace(step([3])))
    assert found is not None
    assert found.tolist() == [33]
