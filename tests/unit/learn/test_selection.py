import numpy as np
import pytest

from handful.learn import selection

# Four directions in a plane: 0 and 1 nearly alike, 2 at a right angle, 3 opposite to 0.
VECTORS = selection.unit_rows(np.array([[1.0, 0.0], [2.0, 0.2], [0.0, 1.0], [-1.0, 0.0]]))
EAST = np.array([3.0, 0.0])


def test_the_nearest_come_first_whatever_their_length() -> None:
    assert selection.nearest(EAST, VECTORS, 3) == [0, 1, 2]


def test_of_equally_near_examples_the_first_of_the_pool_wins() -> None:
    assert selection.nearest(EAST, np.tile([1.0, 0.0], (5, 1)), 3) == [0, 1, 2]


def test_a_query_that_is_like_nothing_gets_the_beginning_of_the_pool() -> None:
    assert selection.nearest(np.zeros(2), VECTORS, 2) == [0, 1]


def test_balanced_nearest_takes_the_nearest_of_each_class_in_turn() -> None:
    classes = np.array([0, 0, 1, 1])
    assert selection.balanced_nearest(EAST, VECTORS, classes, 2) == [0, 2]
    assert selection.balanced_nearest(EAST, VECTORS, classes, 4) == [0, 2, 1, 3]


def test_balanced_nearest_fills_up_with_the_other_class_where_one_runs_out() -> None:
    assert selection.balanced_nearest(EAST, VECTORS, np.array([0, 0, 0, 1]), 4) == [0, 3, 1, 2]


def test_diverse_passes_over_what_repeats_the_chosen() -> None:
    # after 0: 1 has 0.5 * 0.995 - 0.5 * 0.995 = 0, and so has 2 (0 and 0); 3 has -0.5 + 0.5 = 0. With less weight on
    # the query the one at the far end wins: 0.3 * -1 + 0.7 * 1
    assert selection.diverse(EAST, VECTORS, 2, weight=0.3) == [0, 3]
    assert selection.diverse(EAST, VECTORS, 2, weight=1.0) == [0, 1]


def test_covering_takes_what_adds_to_the_chosen_and_not_what_is_nearest_alone() -> None:
    query = np.array([1.0, 1.0, 1.0])
    features = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert selection.covering(query, features, 2) == [0, 2]
    assert selection.covering(query, features, 3) == [0, 2, 1]


def test_covering_counts_no_more_than_the_query_asks_for() -> None:
    assert selection.covering(np.array([1.0, 1.0]), np.array([[9.0, 0.0], [1.0, 1.0]]), 1) == [1]


def test_representative_takes_the_middle_of_a_crowd_before_the_odd_one() -> None:
    vectors = selection.unit_rows(np.array([[1.0, 0.3], [1.0, 0.0], [1.0, -0.3], [-1.0, 0.0]]))
    assert selection.representative(vectors, np.zeros(4, dtype=np.int64), 2) == [1, 3]


def test_representative_takes_the_classes_in_turn() -> None:
    classes = np.array([0, 0, 0, 1])
    assert set(classes[selection.representative(VECTORS, classes, 2)].tolist()) == {0, 1}


def test_a_random_set_is_balanced_and_the_same_for_the_same_seed() -> None:
    classes = np.repeat([0, 1, 2], [20, 5, 5])
    first = selection.random_balanced(classes, 6, seed=3)
    assert np.bincount(classes[first]).tolist() == [2, 2, 2]
    assert first == selection.random_balanced(classes, 6, seed=3)
    assert first != selection.random_balanced(classes, 6, seed=4)


def test_a_class_that_runs_out_leaves_room_for_the_others() -> None:
    classes = np.repeat([0, 1], [9, 1])
    assert sorted(classes[selection.random_balanced(classes, 4)].tolist()) == [0, 0, 0, 1]


@pytest.mark.parametrize("number", [4, 9])
def test_asking_for_all_or_more_gives_every_example_once(number: int) -> None:
    classes = np.array([0, 1, 0, 1])
    found = [
        selection.nearest(EAST, VECTORS, number),
        selection.balanced_nearest(EAST, VECTORS, classes, number),
        selection.diverse(EAST, VECTORS, number),
        selection.covering(EAST, np.abs(VECTORS), number),
        selection.representative(VECTORS, classes, number),
        selection.random_balanced(classes, number),
    ]
    assert all(sorted(one) == [0, 1, 2, 3] for one in found)
