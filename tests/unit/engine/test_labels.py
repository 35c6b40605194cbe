"""The label trie: what is run, what sees what, and where each label's probability is read."""

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
    assert trie.visible.tolist() == [
        [True, False, False, False, False],
        [True, True, False, False, False],
        [True, True, True, False, False],
        [True, False, False, True, False],
        [True, False, False, True, True],
    ]


def test_a_label_that_begins_another_is_read_at_its_own_last_token() -> None:
    trie = LabelTrie.build([[1], [1, 2]])
    assert trie.reads == (((0, 1),), ((0, 1), (1, 2)))


def test_an_empty_label_is_refused() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        LabelTrie.build([[1], []])
