"""Labels that begin each other: normalised probabilities, the same whatever is in the cache and whatever runs."""

from collections.abc import Iterator

import pytest

from handful.learn.estimator import FewShotClassifier
from handful.local import LocalModel
from handful.task.task import Example, Task
from tests.unit.local.test_local_model import make

LABELS = ("12", "1", "123", "a", "ab")
TASK = Task(
    name="stars",
    input="Review: {text}",
    output="Stars: {output}",
    labels=LABELS,
    examples=(Example({"text": "a good film"}, "12"), Example({"text": "a bad film"}, "1")),
)
TEXTS = [f"the review is {i}" for i in range(6)]


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    made = make()
    yield made
    made.close()


def test_probabilities_sum_to_one_and_the_prediction_is_the_highest(model: LocalModel) -> None:
    for answer in TASK.predict(model, TEXTS):
        assert answer.probabilities is not None
        assert tuple(answer.probabilities) == LABELS
        assert sum(answer.probabilities.values()) == pytest.approx(1.0)
        assert answer.prediction == max(LABELS, key=answer.probabilities.__getitem__)


def test_they_do_not_depend_on_the_cache_or_on_what_runs_beside(model: LocalModel) -> None:
    model.loop.call(lambda engine: engine.scheduler.cache.clear())
    cold = [TASK.predict(model, [text])[0] for text in TEXTS[:1]]
    assert cold[0].num_cached_tokens == 0
    warm = [TASK.predict(model, [text])[0] for text in TEXTS]
    assert warm[0].num_cached_tokens > 0
    together = TASK.predict(model, TEXTS)
    for one, other in [(cold[0], warm[0]), *zip(warm, together, strict=True)]:
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


@pytest.mark.parametrize("order", [LABELS[::-1], tuple(sorted(LABELS))])
def test_they_do_not_depend_on_the_order_in_which_labels_are_named(model: LocalModel, order: tuple[str, ...]) -> None:
    one, other = TASK.predict(model, TEXTS[:1])[0], TASK.replace(labels=order).predict(model, TEXTS[:1])[0]
    assert one.prediction == other.prediction
    assert one.probabilities is not None
    assert other.probabilities is not None
    assert dict(one.probabilities) == pytest.approx(dict(other.probabilities), abs=1e-6)


@pytest.mark.parametrize("words", [("1", "12"), ("12", "1"), ("international", "internally")])
def test_a_classifier_tells_classes_apart_that_begin_with_the_same_token(
    model: LocalModel, words: tuple[str, str]
) -> None:
    fitted = FewShotClassifier(model).fit(TEXTS, [words[index % 2] for index in range(len(TEXTS))])
    rows = fitted.predict_proba(TEXTS)
    assert rows.sum(axis=1) == pytest.approx(1.0)
    assert fitted.classes_.tolist() == sorted(words)
    assert fitted.predict(TEXTS).tolist() == fitted.classes_[rows.argmax(axis=1)].tolist()


def test_the_lead_of_labels_that_begin_each_other_is_scored_with_its_end(model: LocalModel) -> None:
    """Otherwise every label would be at least as probable as the longer ones that begin with it."""
    plain = [model.score(["Stars:"], [" 1", " 12", " 123"])[0].logprobs]
    assert plain[0][0] > plain[0][1] > plain[0][2]
    ended = model.score(["Stars:"], [" 1\n", " 12\n", " 123\n"])[0].logprobs
    assert ended[0] < plain[0][0]
