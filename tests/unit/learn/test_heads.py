import numpy as np
import pytest

from handful.learn.heads import HeadKind, LinearHead, NearestCentroid, Neighbours, NeighboursHead, standard_scale
from handful.learn.logistic import Logistic, stratified_folds

KINDS = [NearestCentroid(), Logistic(), Logistic(c=1.0), Neighbours()]


def clouds(num_each: int, distance: float, num_features: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of unit spread around points that are `distance` from the origin."""
    draw = np.random.default_rng(seed)
    centres = np.eye(3, num_features) * distance
    classes = np.repeat(np.arange(3), num_each)
    return centres[classes] + draw.normal(size=(3 * num_each, num_features)), classes


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_head_finds_clouds_that_lie_apart(kind: HeadKind) -> None:
    head = kind.fit(*clouds(8, 6.0), 3)
    features, classes = clouds(30, 6.0, seed=1)
    said = head.log_probabilities(features)
    assert (said.argmax(axis=1) == classes).mean() > 0.9
    assert np.exp(said).sum(axis=1) == pytest.approx(np.ones(90))


@pytest.mark.parametrize("kind", [NearestCentroid(), Logistic()], ids=str)
def test_a_head_on_noise_is_unsure(kind: HeadKind) -> None:
    losses = []
    for seed in range(5):
        head = kind.fit(*clouds(8, 0.0, seed=seed), 3)
        features, classes = clouds(30, 0.0, seed=100 + seed)
        losses.append(-head.log_probabilities(features)[np.arange(90), classes].mean())
    assert np.mean(losses) < np.log(3) + 0.15  # a third for each label costs log 3


@pytest.mark.parametrize("kind", [NearestCentroid(), Logistic(c=1.0)], ids=str)
def test_a_head_does_not_depend_on_where_the_origin_of_its_features_is(kind: HeadKind) -> None:
    features, classes = clouds(6, 2.0)
    queries, _ = clouds(4, 2.0, seed=9)
    here = kind.fit(features, classes, 3).log_probabilities(queries)
    there = kind.fit(features + 50.0, classes, 3).log_probabilities(queries + 50.0)
    assert there == pytest.approx(here, abs=1e-3)


def test_the_nearest_centroid_of_a_case_worked_out_by_hand() -> None:
    # Means (0, 0) and (4, 0); the boundary is the plane x = 2, whatever the temperature.
    features = np.array([[0.0, 1.0], [0.0, -1.0], [4.0, 1.0], [4.0, -1.0]])
    head = NearestCentroid().fit(features, np.array([0, 0, 1, 1]), 2)
    said = np.exp(head.log_probabilities(np.array([[2.0, 7.0], [1.9, 0.0], [2.1, 0.0]])))
    assert said[0] == pytest.approx([0.5, 0.5])
    assert said[1, 0] > 0.5 > said[2, 0]


def test_neighbours_vote_with_half_a_row_more_for_every_class() -> None:
    head = NeighboursHead(np.array([[0.0], [1.0], [2.0], [50.0]]), np.array([0, 0, 1, 1]), 2, 3)
    assert np.exp(head.log_probabilities(np.array([[0.5]])))[0] == pytest.approx([2.5 / 4, 1.5 / 4])


def test_neighbours_by_divergence_take_the_distribution_that_is_nearest() -> None:
    rows = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    head = Neighbours(1, "kl").fit(rows, np.array([0, 1, 1]), 2)
    # KL((.75,.25) || rows) = 0.75 log(.75/q) + 0.25 log(.25/(1-q)): 0.092, 0.131, 1.19
    assert head.log_probabilities(np.array([[0.75, 0.25]])).argmax() == 0


def test_there_are_never_more_neighbours_than_rows() -> None:
    assert Neighbours(9).fit(np.zeros((2, 1)), np.array([0, 1]), 2).k == 2


def test_an_even_column_is_not_blown_up() -> None:
    features = np.array([[0.0, 5.0], [2.0, 5.0]])
    _, scale = standard_scale(features)
    assert scale == pytest.approx([np.sqrt(0.75), np.sqrt(0.25)])  # half of each variance is their mean, 0.5


def test_columns_that_are_all_even_leave_a_head_that_is_unsure() -> None:
    head = NearestCentroid().fit(np.ones((4, 3)), np.array([0, 0, 1, 1]), 2)
    assert np.exp(head.log_probabilities(np.ones((1, 3))))[0] == pytest.approx([0.5, 0.5])


def test_a_class_of_one_example_can_be_fitted() -> None:
    features, classes = clouds(2, 5.0)
    for kind in (NearestCentroid(), Logistic()):
        assert isinstance(kind.fit(features[:5], classes[:5], 3), LinearHead)


def test_folds_leave_out_each_row_once_and_spread_the_classes() -> None:
    classes = np.array([0] * 10 + [1] * 5)
    folds = list(stratified_folds(classes, 5))
    assert np.sum(folds, axis=0).tolist() == [1] * 15
    assert all(np.bincount(classes[fold]).tolist() == [2, 1] for fold in folds)


def test_there_are_no_more_folds_than_the_largest_class_has_rows() -> None:
    assert len(list(stratified_folds(np.array([0, 0, 1, 1]), 8))) == 2
