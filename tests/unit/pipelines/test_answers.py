"""Answers in a text, against a search through every stretch."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError
from handful.nlp_types import Question, QuestionOptions
from handful.pipelines.contract import NlpModel
from handful.pipelines.load import load_nlp_model
from tests.unit.pipelines.tiny_nlp import checkpoint, files

QUESTION = "What's my name?"
CONTEXT = "My name is Clara and I live in Berkeley."
ITEM = Question(QUESTION, CONTEXT)


@pytest.fixture(scope="module")
def model() -> NlpModel:
    return load_nlp_model(files("bert-answers"), "cpu")


def every_stretch(name: str, max_answer_len: int = 15) -> dict[tuple[int, int], float]:
    """The probability of each stretch of tokens of the context, by its characters; and (-1, -1) for no answer."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint(name))
    network = AutoModelForQuestionAnswering.from_pretrained(checkpoint(name)).eval()
    encoded = tokenizer(QUESTION, CONTEXT, return_tensors="pt")
    with torch.inference_mode():
        outputs = network(**encoded)
    encoding = encoded.encodings[0]
    allowed = [i for i, sequence in enumerate(encoding.sequence_ids) if sequence == 1]
    chances = []
    for logits in (outputs.start_logits[0], outputs.end_logits[0]):
        exponentials = np.exp(logits[[0, *allowed]].double().numpy())
        chances.append(dict(zip([0, *allowed], exponentials / exponentials.sum(), strict=True)))
    starts, ends = chances
    found = {(-1, -1): starts[0] * ends[0]}
    for first in allowed:
        for last in allowed:
            if first <= last < first + max_answer_len:
                found[encoding.offsets[first][0], encoding.offsets[last][1]] = starts[first] * ends[last]
    return found


@pytest.mark.parametrize("name", ["bert-answers", "roberta-answers"])
@pytest.mark.parametrize("max_answer_len", [1, 3, 15])
def test_the_answers_are_the_best_of_all_stretches(name: str, max_answer_len: int) -> None:
    model = load_nlp_model(files(name), "cpu")
    options = QuestionOptions(top_k=5, max_answer_len=max_answer_len, align_to_words=False)
    (answers,) = model.question_answering([ITEM], options)
    stretches = every_stretch(name, max_answer_len)
    del stretches[-1, -1]
    best = sorted(stretches.items(), key=lambda item: item[1], reverse=True)[:5]
    assert [(answer.start, answer.end) for answer in answers] == [place for place, _ in best]
    assert [answer.score for answer in answers] == pytest.approx([score for _, score in best], abs=1e-5)


def test_an_answer_is_what_the_context_says_there(model: NlpModel) -> None:
    for options in (QuestionOptions(top_k=20), QuestionOptions(top_k=20, align_to_words=False)):
        (answers,) = model.question_answering([ITEM], options)
        assert len(answers) == len({(answer.start, answer.end) for answer in answers}) == 20
        assert all(CONTEXT[answer.start : answer.end] == answer.answer for answer in answers)


def test_answers_are_widened_to_whole_words(model: NlpModel) -> None:
    item = Question(QUESTION, "universities everywhere somehow")  # words that are many tokens each
    (answers,) = model.question_answering([item], QuestionOptions(top_k=3))
    assert all(set(answer.answer.split()) <= set(item.context.split()) for answer in answers)


def test_no_answer_is_one_where_it_may_be(model: NlpModel) -> None:
    (without,) = model.question_answering([ITEM], QuestionOptions(top_k=1000))
    assert all(answer.answer for answer in without)
    (answers,) = model.question_answering([ITEM], QuestionOptions(top_k=1000, handle_impossible_answer=True))
    (none,) = [answer for answer in answers if not answer.answer]
    assert (none.start, none.end) == (0, 0)
    assert none.score == pytest.approx(every_stretch("bert-answers")[-1, -1], abs=1e-6)


def test_a_long_context_is_read_in_windows(model: NlpModel) -> None:
    context = "the a and i in " * 12 + "Clara"
    (answers,) = model.question_answering([Question(QUESTION, context)], QuestionOptions(top_k=1000, max_answer_len=2))
    assert max(answer.end for answer in answers) == len(context)
    assert min(answer.start for answer in answers) == 0


def test_windows_that_share_more_give_no_answer_twice(model: NlpModel) -> None:
    context = "the a and i in " * 10
    options = QuestionOptions(top_k=50, max_seq_len=30, doc_stride=15)
    (answers,) = model.question_answering([Question(QUESTION, context)], options)
    assert len({(answer.start, answer.end) for answer in answers}) == len(answers)
    assert [answer.score for answer in answers] == sorted((answer.score for answer in answers), reverse=True)


def test_several_questions_are_answered_in_their_order(model: NlpModel) -> None:
    items = [ITEM, Question("Where do I live?", "the a " * 60), ITEM]
    first, _, last = model.question_answering(items, QuestionOptions())
    assert first == last
    assert [(answer.start, answer.end) for answer in first] == [
        (answer.start, answer.end) for answer in model.question_answering([ITEM], QuestionOptions())[0]
    ]


def test_a_question_that_is_too_long_is_an_error_with_both_counts(model: NlpModel) -> None:
    with pytest.raises(PromptTooLongError, match=r"70 tokens.*at most 64.*max_question_len"):
        model.question_answering([Question("name " * 70, CONTEXT)], QuestionOptions())


def test_a_window_without_room_is_refused(model: NlpModel) -> None:
    with pytest.raises(InvalidParameterError, match=r"doc_stride.*max_seq_len"):
        model.question_answering([ITEM], QuestionOptions(max_seq_len=20, doc_stride=13))
    with pytest.raises(InvalidParameterError, match="max_seq_len"):
        model.question_answering([ITEM], QuestionOptions(max_seq_len=8))
    with pytest.raises(InvalidParameterError, match=r"max_seq_len.*64"):
        model.question_answering([ITEM], QuestionOptions(max_seq_len=65))


@pytest.mark.parametrize(("question", "context"), [("", "a"), ("a", " ")])
def test_an_empty_question_or_context_is_refused_by_name(question: str, context: str) -> None:
    with pytest.raises(InvalidInputError, match="context" if question else "question"):
        Question(question, context)


def test_no_questions_are_refused(model: NlpModel) -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        model.question_answering([], QuestionOptions())


def test_there_are_as_many_answers_as_asked_for_though_many_stretches_widen_to_one(model: NlpModel) -> None:
    item = Question(QUESTION, "incomprehensibilities uncharacteristically internationalization")
    (answers,) = model.question_answering([item], QuestionOptions(top_k=6))
    words = item.context.split()
    runs = {" ".join(words[first : last + 1]) for first in range(3) for last in range(first, 3)}
    assert len(answers) == 5  # all but the whole, whose middle word alone is too long for an answer
    assert {answer.answer for answer in answers} <= runs
    (single,) = model.question_answering([item], QuestionOptions(top_k=3, max_answer_len=1))
    assert {answer.answer for answer in single} == set(words)
