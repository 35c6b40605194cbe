"""Distillation on a model whose answers have a known structure: what is learned from, and what is told of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handful import FewShotClassifier
from handful.errors import InvalidInputError, InvalidParameterError, TaskError
from handful.learn import saved
from handful.learn.distil import Distilled, DistilSettings, Labelled, balanced, distil
from handful.learn.distil_report import report_on
from handful.learn.ensemble import EnsemblePredictor
from handful.task.task import Task
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task

NUM = 120


def labelled(backend: StructuredBackend, given: Task, num_each: int = NUM) -> Labelled:
    """What the task's prompt says of `num_each` texts of every label."""
    texts = [text for pair in zip(*(inputs(label, range(num_each)) for label in LABELS), strict=True) for text in pair]
    made = given.predict(backend, texts)
    return Labelled(texts, np.array([list((each.probabilities or {}).values()) for each in made]))


def distilled(backend: StructuredBackend | None = None, **settings: Any) -> tuple[StructuredBackend, Distilled]:
    model = backend or StructuredBackend(score_signal=3.0)
    shown = task().with_examples(examples(2, start=1000))
    return model, distil(shown, model, labelled(model, shown), DistilSettings(**settings))


def test_the_student_is_right_where_the_teacher_taught_it() -> None:
    _, made = distilled()
    asked = [text for label in LABELS for text in inputs(label, range(500, 540))]
    right = [answer == text.partition(" ")[0] for answer, text in zip(made.student.predict(asked), asked, strict=True)]
    assert sum(right) > 0.9 * len(asked)


def test_it_costs_one_pass_without_examples_or_one_behind_the_prompt() -> None:
    for behind, num_examples in (("query", 0), ("prompt", 4)):
        _, made = distilled(behind=behind)
        assert isinstance(made.student, EnsemblePredictor)
        (member,) = made.student.members
        assert (len(member.reader.task.examples), made.student.num_passes) == (num_examples, 1)


def test_nothing_is_learned_from_texts_that_were_set_aside_or_that_the_teacher_doubts() -> None:
    backend, made = distilled(confidence=0.8, set_aside=0.25)
    assert len(made.set_aside) == made.agreement.num_tried == 60
    backend.calls.clear()
    _, every = distilled(confidence=0.0, set_aside=0.25)
    assert made.num_confident < every.num_confident == 180
    assert sum(made.num_learned.values()) <= made.num_confident


def test_the_teacher_is_the_task_as_it_is_served() -> None:
    backend = StructuredBackend(score_signal=1.0, bias=2.0)
    shown = task().with_examples(examples(2, start=1000))
    made = distil(shown, backend, labelled(backend, shown), DistilSettings(confidence=0.0))
    texts = inputs("bad", range(300, 320))
    served = [list((each.probabilities or {}).values()) for each in shown.predict(backend, texts)]
    assert np.abs(made.teacher.probabilities(texts) - np.array(served)).max() < 1e-9


def test_texts_of_even_labels_take_the_bias_out() -> None:
    backend = StructuredBackend(score_signal=1.0, bias=6.0)
    shown = task().with_examples(examples(2, start=1000)).replace(calibration="none")
    said = labelled(backend, shown)
    with pytest.raises(InvalidInputError, match="sure of 192 of 192"):  # all of them of the one label
        distil(shown, backend, said, DistilSettings(confidence=0.0))
    made = distil(shown, backend, said, DistilSettings(confidence=0.0, evenly=True))
    answers = made.teacher.predict([text for label in LABELS for text in inputs(label, range(300, 400))])
    assert abs(answers.count(LABELS[0]) / len(answers) - 0.5) < 0.2


def test_the_teacher_is_not_asked_twice() -> None:
    model = StructuredBackend(score_signal=3.0)
    shown = task().with_examples(examples(2, start=1000))
    said = labelled(model, shown)
    model.calls.clear()
    distil(shown, model, said)
    assert {method for method, _ in model.calls} == {"embed"}


def test_a_label_has_at_most_twice_the_rarests_texts_or_sixteen() -> None:
    classes = np.array([0] * 100 + [1] * 10 + [2] * 3)
    kept = balanced(np.arange(113), classes, 3, seed=0)
    assert np.bincount(classes[kept]).tolist() == [16, 10, 3]
    kept = balanced(np.arange(113), np.array([0] * 100 + [1] * 13), 2, seed=0)
    assert np.bincount(np.array([0] * 100 + [1] * 13)[kept]).tolist() == [26, 13]
    assert kept.tolist() == sorted(kept.tolist())


def test_too_few_texts_of_a_label_are_told_with_a_way_out() -> None:
    with pytest.raises(InvalidInputError, match=r"sure of 0 of \d+ texts.*`bad` and `good`.*Lower the confidence"):
        distilled(StructuredBackend(score_signal=0.1), confidence=0.999)


def test_a_task_without_labels_and_no_texts_are_refused() -> None:
    with pytest.raises(TaskError, match="no labels"):
        distil(Task(name="open"), StructuredBackend(), Labelled(["a"], np.ones((1, 1))))
    with pytest.raises(InvalidInputError, match="no text"):
        distil(task(), StructuredBackend(), Labelled([], np.ones((0, 2))))


@pytest.mark.parametrize(
    "settings", [{"confidence": 1.0}, {"confidence": "x"}, {"set_aside": -0.1}, {"head": "tree"}, {"behind": "x"}]
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=next(iter(settings))):
        DistilSettings(**settings)


@pytest.mark.parametrize("head", ["logistic", "centroid"])
def test_it_is_saved_and_read_back_as_a_classifier(head: str, tmp_path: Path) -> None:
    backend, made = distilled(head=head)
    assert isinstance(made.student, EnsemblePredictor)
    saved.save(tmp_path, saved.Saved({}, np.array(LABELS), made.student, made.choice))
    texts = [text for label in LABELS for text in inputs(label, range(500, 505))]
    loaded = FewShotClassifier.load(tmp_path, backend)
    assert np.array_equal(loaded.predict_proba(texts), made.student.probabilities(texts))
    assert loaded.choice_.expected == made.agreement


def test_the_report_compares_both_on_the_truth() -> None:
    _, made = distilled()
    texts = [text for label in LABELS for text in inputs(label, range(700, 720))]
    report = report_on(made, 240, 3, (texts, [text.partition(" ")[0] for text in texts]))
    told = report.to_dict()
    assert (told["num_texts"], told["num_errors"]) == (240, 3)
    assert told["accuracy"]["classifier"]["share"] > 0.9
    assert 0.8 < told["accuracy"]["prompt"]["share"] <= 1.0
    assert told["queries_per_s"]["prompt"] > 0
    assert told["agreement"]["num_tried"] == 48
    assert any(line.startswith("accuracy: prompt") for line in report.lines())


def test_without_truth_the_report_has_no_accuracy() -> None:
    _, made = distilled(set_aside=0.0)
    told = report_on(made, 240, 0).to_dict()
    assert (told["accuracy"], told["queries_per_s"], told["agreement"]["num_tried"]) == (None, None, 0)


def test_queries_a_second_are_measured_on_texts_that_were_not_asked_before() -> None:
    backend, made = distilled()
    backend.prompts.clear()
    report_on(made, 240, 0)
    asked = [prompt.rpartition("Text: ")[2].partition("\n")[0] for prompt in backend.prompts]
    assert len(asked) == 49
    assert not set(asked) & set(map(str, made.set_aside))


def test_few_texts_of_a_label_are_told() -> None:
    backend = StructuredBackend(score_signal=3.0)
    shown = task().with_examples(examples(2, start=1000))
    made = distil(shown, backend, labelled(backend, shown, 20), DistilSettings(confidence=0.5))
    assert any("a lower --confidence" in line for line in report_on(made, 240, 0).lines())
