"""How many threads are computed on: what was asked for, or what a container may use."""

import pytest
import torch

from handful.config import Settings
from handful.local import threads
from handful.local.threads import set_threads


@pytest.mark.parametrize(
    ("there", "quota", "asked", "taken"),
    [
        (64, 2, 0, 2),  # a container's share of a large machine
        (1, 4, 0, 1),  # OMP_NUM_THREADS=1, or torch.set_num_threads(1) before
        (8, None, 0, 8),
        (8, 2, 4, 4),  # who asks for more threads than processors gets them
    ],
)
def test_a_quota_bounds_what_nobody_asked_for(
    there: int, quota: int | None, asked: int, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = [there]
    monkeypatch.setattr(torch, "get_num_threads", lambda: number[-1])
    monkeypatch.setattr(torch, "set_num_threads", number.append)
    monkeypatch.setattr(threads, "usable_cores", lambda: quota)
    set_threads(Settings(threads=asked))
    assert number[-1] == taken
