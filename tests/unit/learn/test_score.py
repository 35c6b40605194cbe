import numpy as np
import pytest

from handful.errors import InvalidInputError, InvalidParameterError, TaskError
from handful.learn.calibrate import CALIBRATIONS, Calibration
from handful.learn.reading import Reader
from handful.learn.score import ScorePredictor
from handful.task.fit import ExamplesDroppedWarning
from handful.task.task import Example, Task
from tests.fakes import FakeBackend
from tests.unit.learn.structured import StructuredBackend, examples, inputs, task

QUERIES = inputs("bad", range(50, 80)) + inputs("good", range(50, 80))


def accuracy(predictor: ScorePredictor) -> float:
    true = [text.split()[0] for text in QUERIES]
    return float(np.mean([a == b for a, b in zip(predictor.predict(QUERIES), true, strict=True)]))


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_rows_sum_to_one_and_predict_takes_the_largest(calibration: Calibration) -> None:
    predictor = ScorePredictor(Reader(task().with_examples(examples(2)), StructuredBackend(bias=1.0)), calibration)
    predictor.fit(QUERIES)
    found = predictor.probabilities(QUERIES)
    assert found.shape == (60, 2)
    assert found.sum(axis=1) == pytest.approx(np.ones(60))
    assert predictor.predict(QUERIES) == [predictor.labels[column] for column in found.argmax(axis=1)]


@pytest.mark.parametrize("calibration", ["contextual", "domain", "batch"])
def test_calibration_removes_the_prompts_bias(calibration: Calibration) -> None:
    reader = Reader(task().with_examples(examples(2)), StructuredBackend(score_signal=2.0, bias=4.0))
    assert accuracy(ScorePredictor(reader)) < 0.6
    assert accuracy(ScorePredictor(reader, calibration).fit(QUERIES if calibration == "batch" else ())) > 0.8


def test_batch_calibration_without_texts_runs_over_what_it_predicts() -> None:
    reader = Reader(task().with_examples(examples(2)), StructuredBackend(bias=4.0))
    predictor = ScorePredictor(reader, "batch")
    predictor.probabilities(QUERIES[:20])
    predictor.probabilities(QUERIES[20:])
    assert predictor.running.num_rows == 60
    assert predictor.running.bias == pytest.approx(np.exp(reader.log_probabilities(QUERIES)).mean(axis=0))


def test_batch_calibration_with_texts_gives_each_input_the_same_answer_alone() -> None:
    predictor = ScorePredictor(Reader(task().with_examples(examples(2)), StructuredBackend()), "batch").fit(QUERIES)
    together = predictor.probabilities(QUERIES[:5])
    alone = np.concatenate([predictor.probabilities([text]) for text in QUERIES[:5]])
    assert together == pytest.approx(alone)


def test_the_prior_correction_favours_the_label_that_was_shown_less() -> None:
    shown = examples(3)[:4]  # three bad, one good
    reader = Reader(task().with_examples(shown), StructuredBackend())
    plain = ScorePredictor(reader).probabilities(QUERIES)
    corrected = ScorePredictor(reader, prior_correction=1.0).probabilities(QUERIES)
    # shares with one more of each: 4/6 and 2/6, so the odds of good double
    assert corrected[:, 1] / corrected[:, 0] == pytest.approx(2 * plain[:, 1] / plain[:, 0])


def test_synonyms_add_their_probabilities() -> None:
    words = {" bad": 0.2, " awful": 0.3, " good": 0.1}
    backend = FakeBackend(logprob=lambda _, text: float(np.log(words[text])))
    reader = Reader(task(), backend, {"bad": ["awful"]})
    assert ScorePredictor(reader).probabilities(["x"])[0] == pytest.approx([5 / 6, 1 / 6])


@pytest.mark.parametrize(
    ("synonyms", "named"),
    [({"worse": ["awful"]}, "worse"), ({"bad": "awful"}, "list"), ({"bad": ["good"]}, "good")],
)
def test_synonyms_that_mean_nothing_are_refused(synonyms: dict[str, list[str]], named: str) -> None:
    with pytest.raises(InvalidParameterError, match=named):
        Reader(task(), FakeBackend(), synonyms)


def test_an_open_task_is_refused() -> None:
    with pytest.raises(TaskError, match="no labels"):
        Reader(Task(name="open"), FakeBackend())


def test_an_unknown_calibration_is_refused_by_name() -> None:
    with pytest.raises(InvalidParameterError, match="contextal"):
        ScorePredictor(Reader(task(), FakeBackend()), "contextal")  # type: ignore[arg-type]


def test_a_prior_correction_beside_a_calibration_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="prior_correction"):
        ScorePredictor(Reader(task(), FakeBackend()), "batch", prior_correction=1.0)


def test_domain_calibration_without_any_text_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="words"):
        ScorePredictor(Reader(task(), FakeBackend()), "domain").fit()


def test_a_bad_input_is_named_before_anything_is_asked() -> None:
    backend = FakeBackend()
    with pytest.raises(InvalidInputError, match="Input 2 of 2"):
        ScorePredictor(Reader(task(), backend)).probabilities(["fine", "  "])
    assert backend.calls == []


def test_no_inputs_give_no_rows() -> None:
    assert ScorePredictor(Reader(task(), FakeBackend()), "batch").probabilities([]).shape == (0, 2)


def test_examples_belong_to_the_prompt_that_is_scored() -> None:
    backend = FakeBackend()
    ScorePredictor(Reader(task().with_examples([Example({"text": "so so"}, "bad")]), backend)).predict(["hm"])
    assert backend.prompts == ["Text: so so\nLabel: bad\n\nText: hm\nLabel:"]


def test_a_prompt_that_does_not_fit_loses_examples_with_a_warning_and_calibrates_all_the_same() -> None:
    backend = FakeBackend(context_length=150)
    predictor = ScorePredictor(Reader(task().with_examples(examples(9)), backend), "contextual").fit()
    with pytest.warns(ExamplesDroppedWarning):
        assert predictor.probabilities(["so so"]).shape == (1, 2)
