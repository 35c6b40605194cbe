"""The label trie: what is run, what sees what, and where each label's probability is read."""

import tracemalloc

import numpy as np
import pytest

from handful.engine.labels import LabelTrie


def test_single_token_labels_need_no_token_to_be_run() -> None:
    trie = LabelTrie.build([[5], [7]])
    assert trie.tokens == ()
    assert trie.reads == (((0, 5),), ((0, 7),))


def test_labels_share_the_nodes_of_their_common_start() -> None:
    trie = LabelTrie.build([[1, 2, 3], [1, 2, 4], [1, 5]])
    assert trie.tokens == (1, 2)
    assert trie.depths == (1, 2)
    assert trie.reads[0] == ((0, 1), (1, 2), (2, 3))
    assert trie.reads[2] == ((0, 1), (1, 5))


def test_a_node_sees_its_ancestors_and_no_other_branch() -> None:
    trie = LabelTrie.build([[1, 2, 9], [3, 4, 9]])
    assert trie.tokens == (1, 2, 3, 4)
    seen = trie.visible(np.arange(5), 0, 5)
    assert [np.flatnonzero(row).tolist() for row in seen] == [[0], [0, 1], [0, 1, 2], [0, 3], [0, 3, 4]]
    assert [trie.ancestors(row) for row in range(5)] == [[], [1], [1, 2], [3], [3, 4]]
    assert trie.visible(np.array([2, 4]), 2, 5).tolist() == [[True, False, False], [False, True, True]]


def test_of_each_row_the_tokens_are_known_that_are_read_from_it() -> None:
    assert LabelTrie.build([[1, 2], [1, 3], [4], [4], [1, 2, 5]]).asked == ((1, 4), (2, 3), (5,))


def test_hundreds_of_long_continuations_take_as_much_as_they_are_long() -> None:
    continuations = [[i, *range(100)] for i in range(300)]
    tracemalloc.start()
    trie = LabelTrie.build(continuations)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(trie.tokens) == 300 * 100
    assert most < 1000 * 300 * 100


def test_a_label_that_begins_another_is_read_at_its_own_last_token() -> None:
    trie = LabelTrie.build([[1], [1, 2]])
    assert trie.reads == (((0, 1),), ((0, 1), (1, 2)))


def test_an_empty_label_is_refused() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        LabelTrie.build([[1], []])
