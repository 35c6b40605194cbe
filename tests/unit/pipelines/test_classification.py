"""Text and zero-shot classification against Transformers' own pipelines and by hand."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError, UserError
from handful.nlp_types import ClassificationOptions, ZeroShotOptions
from handful.pipelines.contract import NlpModel
from handful.pipelines.load import load_nlp_model
from tests.unit.pipelines.tiny_nlp import checkpoint, files

TEXTS = ["my name is clara", "i live in berkeley and what is the name", "a"]
LONG = "the name " * 100


@pytest.fixture(scope="module")
def model() -> NlpModel:
    return load_nlp_model(files("bert-classifier"), "cpu")


@pytest.fixture(scope="module")
def inference() -> NlpModel:
    return load_nlp_model(files("bert-nli"), "cpu")


def logits(name: str, *texts: str) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint(name))
    network = AutoModelForSequenceClassification.from_pretrained(checkpoint(name)).eval()
    with torch.inference_mode():
        found: torch.Tensor = network(**tokenizer(*texts, return_tensors="pt")).logits[0]
    return found


def test_scores_are_those_of_transformers_pipeline(model: NlpModel) -> None:
    expected = pipeline("text-classification", model=str(checkpoint("bert-classifier")), top_k=None)(TEXTS)
    found = model.text_classification(TEXTS, ClassificationOptions())
    for answers, wanted in zip(found, expected, strict=True):
        assert [answer.label for answer in answers] == [one["label"] for one in wanted]
        assert [answer.score for answer in answers] == pytest.approx([one["score"] for one in wanted], abs=1e-5)


def test_scores_are_a_softmax_of_the_logits_by_hand(model: NlpModel) -> None:
    (answers,) = model.text_classification([TEXTS[0]], ClassificationOptions())
    exponentials = np.exp(logits("bert-classifier", TEXTS[0]).numpy())
    expected = dict(zip(["NEGATIVE", "POSITIVE"], exponentials / exponentials.sum(), strict=True))
    assert {answer.label: answer.score for answer in answers} == pytest.approx(expected, abs=1e-5)


def test_a_multi_label_model_answers_with_sigmoids(model: NlpModel) -> None:
    other = load_nlp_model(files("distilbert-classifier"), "cpu")
    (answers,) = other.text_classification([TEXTS[0]], ClassificationOptions())
    expected = 1 / (1 + np.exp(-logits("distilbert-classifier", TEXTS[0]).numpy()))
    assert sorted(answer.score for answer in answers) == pytest.approx(sorted(expected), abs=1e-5)


def test_none_gives_the_raw_outputs_and_top_k_the_first_of_them(model: NlpModel) -> None:
    options = ClassificationOptions(function_to_apply="none", top_k=1)
    ((answer,),) = model.text_classification([TEXTS[0]], options)
    assert answer.score == pytest.approx(float(logits("bert-classifier", TEXTS[0]).max()), abs=1e-4)


def test_a_long_text_is_an_error_with_both_counts(model: NlpModel) -> None:
    with pytest.raises(PromptTooLongError, match=r"202 tokens.*at most 64.*truncation"):
        model.text_classification([LONG], ClassificationOptions())


def test_a_long_text_is_cut_where_that_is_asked_for(model: NlpModel) -> None:
    options = ClassificationOptions(truncation=True)
    assert model.text_classification([LONG], options) == model.text_classification(["the name " * 31], options)


@pytest.mark.parametrize("texts", [[], [""], ["  \n"], ["a", ""]])
def test_nothing_to_classify_is_refused(model: NlpModel, texts: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        model.text_classification(texts, ClassificationOptions())


def test_a_model_without_padding_answers_several_texts() -> None:
    model = load_nlp_model(files("gpt2-classifier"), "cpu")
    together = model.text_classification(TEXTS, ClassificationOptions())
    assert together == [model.text_classification([text], ClassificationOptions())[0] for text in TEXTS]


@pytest.mark.parametrize("multi_label", [False, True])
def test_zero_shot_is_transformers_pipeline(inference: NlpModel, multi_label: bool) -> None:
    labels = ("name", "berkeley", "the answer")
    reference = pipeline("zero-shot-classification", model=str(checkpoint("bert-nli")))
    expected = reference(TEXTS, candidate_labels=list(labels), multi_label=multi_label, hypothesis_template="the {}")
    options = ZeroShotOptions(candidate_labels=labels, multi_label=multi_label, hypothesis_template="the {}")
    for answer, wanted in zip(inference.zero_shot(TEXTS, options), expected, strict=True):
        assert (answer.sequence, list(answer.labels)) == (wanted["sequence"], wanted["labels"])
        assert answer.scores == pytest.approx(wanted["scores"], abs=1e-5)


def test_zero_shot_scores_are_entailment_among_the_labels(inference: NlpModel) -> None:
    options = ZeroShotOptions(candidate_labels=("name", "live"))
    (answer,) = inference.zero_shot([TEXTS[0]], options)
    entailed = [float(logits("bert-nli", TEXTS[0], f"This example is {label}.")[2]) for label in ("name", "live")]
    expected = np.exp(entailed) / np.exp(entailed).sum()
    assert dict(zip(answer.labels, answer.scores, strict=True)) == pytest.approx(
        {"name": expected[0], "live": expected[1]}, abs=1e-5
    )


def test_one_label_is_judged_against_contradiction(inference: NlpModel) -> None:
    (answer,) = inference.zero_shot([TEXTS[0]], ZeroShotOptions(candidate_labels=("name",)))
    contradiction, _, entailment = np.exp(logits("bert-nli", TEXTS[0], "This example is name.").numpy())
    assert answer.scores == pytest.approx((entailment / (entailment + contradiction),), abs=1e-5)


def test_a_long_text_is_cut_and_its_hypothesis_is_not(inference: NlpModel) -> None:
    options = ZeroShotOptions(candidate_labels=("name", "live"), truncation=True)
    (answer,) = inference.zero_shot([LONG], options)
    assert sum(answer.scores) == pytest.approx(1.0)
    with pytest.raises(PromptTooLongError, match="at most 64"):
        inference.zero_shot([LONG], ZeroShotOptions(candidate_labels=("name", "live")))


def test_a_classifier_of_language_inference_still_gives_its_own_labels(inference: NlpModel) -> None:
    (answers,) = inference.text_classification([TEXTS[0]], ClassificationOptions())
    assert {answer.label for answer in answers} == {"contradiction", "neutral", "entailment"}


def test_zero_shot_needs_a_model_of_language_inference(model: NlpModel) -> None:
    with pytest.raises(UserError, match="is a model for text-classification; it can't do zero-shot-classification"):
        model.zero_shot(TEXTS, ZeroShotOptions(candidate_labels=("a", "b")))


@pytest.mark.parametrize(
    ("wrong", "parameter"),
    [
        ({"candidate_labels": ()}, "candidate_labels"),
        ({"candidate_labels": ("a", "a")}, "candidate_labels"),
        ({"candidate_labels": ("a", " ")}, "candidate_labels"),
        ({"candidate_labels": ("a",), "hypothesis_template": "this"}, "hypothesis_template"),
    ],
)
def test_bad_labels_and_templates_are_refused_by_name(wrong: dict[str, object], parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        ZeroShotOptions(**wrong)  # type: ignore[arg-type]
    assert caught.value.parameter == parameter
