"""What holds for predictors whatever the numbers and labels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from handful.learn.calibrate import RunningBias, label_prior, mean_bias, remove_bias
from handful.learn.crossfit import balanced_prompts
from handful.learn.estimator import FewShotClassifier
from handful.learn.heads import NearestCentroid
from handful.learn.logistic import stratified_folds
from handful.learn.probability import log_normalise, normalise
from tests.fakes import FakeBackend

logits = st.tuples(st.integers(1, 12), st.integers(2, 5)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-700, 700))
)
many_classes = st.lists(st.integers(0, 3), min_size=4, max_size=60).map(lambda given: np.array([0, 1, 2, 3, *given]))


@given(logits)
def test_normalised_rows_sum_to_one(values: np.ndarray) -> None:
    assert np.allclose(normalise(values).sum(axis=1), 1.0, rtol=0, atol=1e-12)


@given(logits)
def test_calibrated_rows_sum_to_one_and_a_uniform_bias_changes_nothing(values: np.ndarray) -> None:
    rows = log_normalise(values)
    uniform = np.full(values.shape[1], 1 / values.shape[1])
    assert np.allclose(remove_bias(rows, uniform), rows, atol=1e-9)
    assert np.allclose(np.exp(remove_bias(rows, mean_bias(rows))).sum(axis=1), 1.0)


@given(logits, st.integers(0, 12))
def test_a_running_bias_does_not_depend_on_how_the_stream_is_cut(values: np.ndarray, cut: int) -> None:
    running = RunningBias(values.shape[1])
    for part in (values[:cut], values[cut:]):
        running.update(part)
    assert np.allclose(running.bias, mean_bias(values))


@given(st.lists(st.integers(0, 3), max_size=20), st.floats(0, 2))
def test_a_label_prior_is_a_distribution(classes: list[int], tau: float) -> None:
    prior = label_prior(classes, 4, tau=tau)
    assert np.isclose(prior.sum(), 1.0)
    assert (prior > 0).all()


@given(many_classes, st.integers(1, 12), st.integers(1, 5), st.integers(0, 99))
def test_prompts_are_disjoint_balanced_and_of_the_size_asked_for(
    classes: np.ndarray, num_shown: int, num_prompts: int, seed: int
) -> None:
    prompts = balanced_prompts(classes, num_shown, num_prompts, seed)
    shown = [index for prompt in prompts for index in prompt]
    assert len(prompts) <= num_prompts
    assert len(set(shown)) == len(shown)
    assert all(len(prompt) == num_shown for prompt in prompts)
    if prompts and np.bincount(classes).min() * 4 >= num_shown * 4:
        counts = np.bincount(classes[prompts[0]], minlength=4)
        assert counts.max() - counts.min() <= 1
    assert prompts == balanced_prompts(classes, num_shown, num_prompts, seed)


@given(many_classes, st.integers(2, 9), st.integers(0, 99))
def test_every_row_is_left_out_exactly_once(classes: np.ndarray, num_folds: int, seed: int) -> None:
    folds = np.array(list(stratified_folds(classes, num_folds, seed)))
    assert (folds.sum(axis=0) == 1).all()
    for label in range(4):
        sizes = folds[:, classes == label].sum(axis=1)
        assert sizes.max() - sizes.min() <= 1


@given(many_classes, st.integers(0, 99))
def test_a_centroid_head_gives_probabilities_for_any_counts_of_classes(classes: np.ndarray, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(len(classes), 6))
    said = NearestCentroid().fit(features, classes, 4).log_probabilities(features)
    assert np.allclose(np.exp(said).sum(axis=1), 1.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["b", "a", "d", "c"]), min_size=2, max_size=12), st.integers(0, 9))
def test_predictions_are_the_argmax_for_any_order_and_number_of_labels(labels: list[str], seed: int) -> None:
    given_labels = [*labels, "a", "zz"]
    made = FewShotClassifier(
        FakeBackend(context_length=100_000), input="{text}", recipe="calibrated", random_state=seed
    )
    made.fit([f"text {index}" for index in range(len(given_labels))], given_labels)
    found = made.predict_proba(["x", "y y", "z"])
    assert made.classes_.tolist() == sorted(set(given_labels))
    assert (made.predict(["x", "y y", "z"]) == made.classes_[found.argmax(axis=1)]).all()
    assert np.allclose(found.sum(axis=1), 1.0)
