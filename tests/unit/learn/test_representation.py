import numpy as np
import pytest

from handful.errors import InvalidInputError
from handful.learn.heads import NearestCentroid
from handful.learn.reading import Reader
from handful.learn.representation import PromptEmbedder, RepresentationPredictor, knn_predictor
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task

TEXTS = inputs("bad", range(8)) + inputs("good", range(8))
GIVEN = ["bad"] * 8 + ["good"] * 8
QUERIES = inputs("bad", range(50, 90)) + inputs("good", range(50, 90))
TRUE = np.array(["bad"] * 40 + ["good"] * 40)


def reader(**signals: float) -> Reader:
    return Reader(task().with_examples(examples(2, start=900)), StructuredBackend(**signals))  # type: ignore[arg-type]


def test_a_head_reads_what_the_scores_do_not_say() -> None:
    predictor = RepresentationPredictor(PromptEmbedder(reader(score_signal=0.0)), LABELS).fit(TEXTS, GIVEN)
    assert (np.array(predictor.predict(QUERIES)) == TRUE).mean() > 0.9


def test_knn_prompting_reads_the_label_distributions() -> None:
    predictor = knn_predictor(reader(score_signal=3.0, bias=3.0)).fit(TEXTS, GIVEN)
    assert (np.array(predictor.predict(QUERIES)) == TRUE).mean() > 0.85


def test_any_embedder_will_do() -> None:
    class Lengths:
        def vectors(self, texts: object) -> np.ndarray:
            return np.array([[len(text)] for text in texts], dtype=np.float64)  # type: ignore[attr-defined]

    predictor = RepresentationPredictor(Lengths(), ("long", "short"), NearestCentroid())
    predictor.fit(["x" * 9, "x" * 8, "x", "xx"], ["long", "long", "short", "short"])
    assert predictor.predict(["xxx", "x" * 20]) == ["short", "long"]


@pytest.mark.parametrize(
    ("texts", "given", "named"),
    [
        (["a", "b"], ["bad", "god"], "god"),
        (["a", "b"], ["bad", "bad"], "good"),
        (["a"], ["bad", "good"], "1 inputs and 2 labels"),
    ],
)
def test_labels_that_cannot_be_learned_are_named(texts: list[str], given: list[str], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        RepresentationPredictor(PromptEmbedder(reader()), LABELS).fit(texts, given)


def test_predicting_before_fitting_says_what_to_do() -> None:
    with pytest.raises(InvalidInputError, match="fit"):
        RepresentationPredictor(PromptEmbedder(reader()), LABELS).predict(["x"])
