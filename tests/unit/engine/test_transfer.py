"""Rows that are picked are those that were asked for."""

import numpy as np
import pytest
import torch

from handful.engine.transfer import fetch, pick, send


@pytest.mark.parametrize("rows", [[], [0], [2, 3, 4], [4, 2], [0, 2], [3, 3]])
def test_picked_rows_are_the_rows_asked_for(rows: list[int]) -> None:
    values = torch.arange(10).view(5, 2)
    assert pick(values, rows).equal(values[rows])


def test_rows_that_follow_one_another_are_not_copied() -> None:
    values = torch.zeros(5, 2)
    pick(values, [1, 2])[0] = 1
    assert values[1].eq(1).all()


def test_on_the_processor_nothing_is_copied() -> None:
    array = np.zeros(3)
    sent = send(array, torch.device("cpu"))
    sent[0] = 1
    assert array[0] == 1
    (fetched,) = fetch(sent)
    assert fetched.data_ptr() == sent.data_ptr()
