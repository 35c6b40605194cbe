"""Filling a gap, against Transformers' own pipeline."""

import pytest
from transformers import pipeline

from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError
from handful.nlp_types import FillMaskOptions
from handful.pipelines.contract import NlpModel
from handful.pipelines.load import load_nlp_model
from tests.unit.pipelines.tiny_nlp import checkpoint, files

BERT_TEXTS = ["my [MASK] is clara", "i live in [MASK]"]
ROBERTA_TEXTS = ["My<mask> is Clara", "I live in <mask>."]


@pytest.fixture(scope="module")
def model() -> NlpModel:
    return load_nlp_model(files("bert-mask"), "cpu")


@pytest.fixture(scope="module")
def roberta() -> NlpModel:
    return load_nlp_model(files("roberta-mask"), "cpu")


@pytest.mark.parametrize(("name", "texts"), [("bert-mask", BERT_TEXTS), ("roberta-mask", ROBERTA_TEXTS)])
def test_the_answers_are_those_of_transformers_pipeline(name: str, texts: list[str]) -> None:
    expected = pipeline("fill-mask", model=str(checkpoint(name)))(texts)
    found = load_nlp_model(files(name), "cpu").fill_mask(texts, FillMaskOptions())
    for answers, wanted in zip(found, expected, strict=True):
        assert [answer.token for answer in answers] == [one["token"] for one in wanted]
        assert [answer.score for answer in answers] == pytest.approx([one["score"] for one in wanted], abs=1e-5)
        assert [answer.token_str for answer in answers] == [one["token_str"] for one in wanted]
        assert [answer.sequence for answer in answers] == [one["sequence"] for one in wanted]


def test_targets_are_the_only_candidates(model: NlpModel) -> None:
    (everything,) = model.fill_mask(BERT_TEXTS[:1], FillMaskOptions(top_k=10_000))
    (answers,) = model.fill_mask(BERT_TEXTS[:1], FillMaskOptions(targets=("name", "live")))
    assert {answer.token_str for answer in answers} == {"name", "live"}
    assert set(answers) <= set(everything)


def test_a_target_that_is_several_tokens_is_refused_by_name(model: NlpModel) -> None:
    with pytest.raises(InvalidParameterError, match="'university', which is not one token"):
        model.fill_mask(BERT_TEXTS, FillMaskOptions(targets=("name", "university")))


def test_a_target_stands_with_the_space_before_it_where_the_mask_does(roberta: NlpModel) -> None:
    (answers,) = roberta.fill_mask(["My <mask> is Clara"], FillMaskOptions(targets=("name",)))
    assert [answer.token_str for answer in answers] == [" name"]
    assert answers[0].sequence == "My name is Clara"


def test_a_text_without_the_mask_is_told_which_one_it_is(model: NlpModel, roberta: NlpModel) -> None:
    with pytest.raises(InvalidInputError, match=r"has no \[MASK\].*Write \[MASK\]"):
        model.fill_mask(["my <mask> is clara"], FillMaskOptions())
    with pytest.raises(InvalidInputError, match="has no <mask>"):
        roberta.fill_mask(["my [MASK] is clara"], FillMaskOptions())


def test_two_masks_are_refused(model: NlpModel) -> None:
    with pytest.raises(InvalidInputError, match="has 2"):
        model.fill_mask(["[MASK] [MASK]"], FillMaskOptions())


def test_a_long_text_is_an_error_unless_it_may_be_cut(model: NlpModel) -> None:
    text = "my [MASK] is " + "the " * 100
    with pytest.raises(PromptTooLongError, match=r"105 tokens.*at most 64"):
        model.fill_mask([text], FillMaskOptions())
    assert len(model.fill_mask([text], FillMaskOptions(truncation=True))[0]) == 5


def test_the_positions_of_roberta_start_behind_its_padding(roberta: NlpModel) -> None:
    with pytest.raises(PromptTooLongError, match="at most 64"):
        roberta.fill_mask(["<mask>" + " the" * 200], FillMaskOptions())
