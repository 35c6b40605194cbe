"""Rows of like length side by side."""

import pytest

from handful.pipelines.batching import length_batches


@pytest.mark.parametrize("max_tokens", [1, 7, 20, 1000])
def test_every_row_is_in_one_batch_and_no_batch_is_too_large(max_tokens: int) -> None:
    lengths = [3, 9, 1, 4, 4, 8, 2, 9, 5]
    batches = list(length_batches(lengths, max_tokens))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= max_tokens for batch in batches)


def test_the_longest_come_first_with_their_likes() -> None:
    assert list(length_batches([2, 9, 3, 8], 18)) == [[1, 3], [2, 0]]


def test_no_rows_are_no_batches() -> None:
    assert list(length_batches([])) == []
