"""The next turn of a conversation."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError
from handful.nlp_types import Conversation, SeqToSeqOptions
from handful.pipelines.contract import NlpModel
from handful.pipelines.load import load_nlp_model
from tests.unit.pipelines.test_generate import by_transformers
from tests.unit.pipelines.tiny_nlp import checkpoint, files

TALK = Conversation("Where do you live?", ("My name is Clara.",), ("What's the answer?",))
SHORT = SeqToSeqOptions(max_new_tokens=8)


@pytest.fixture(scope="module")
def pair() -> NlpModel:
    return load_nlp_model(files("blenderbot"), "cpu")


@pytest.fixture(scope="module")
def causal() -> NlpModel:
    return load_nlp_model(files("dialogue-gpt2"), "cpu")


def test_a_pair_reads_the_turns_in_one_text(pair: NlpModel) -> None:
    assert pair.task == "conversational"
    answer = pair.conversational(TALK, SHORT)
    text = " My name is Clara.  What's the answer?   Where do you live?"
    assert answer.generated_text == by_transformers("blenderbot", text, max_new_tokens=8).strip()


def test_a_causal_model_continues_turns_that_end_as_texts_do(causal: NlpModel) -> None:
    assert causal.task == "conversational"
    answer = causal.conversational(TALK, SHORT)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint("dialogue-gpt2"))
    model = AutoModelForCausalLM.from_pretrained(checkpoint("dialogue-gpt2")).eval()
    turns = ("My name is Clara.", "What's the answer?", "Where do you live?")
    ids = torch.tensor([[token for turn in turns for token in [*tokenizer(turn)["input_ids"], 2]]])
    mask = torch.ones_like(ids)
    found = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=2)
    assert answer.generated_text == tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("name", ["blenderbot", "dialogue-gpt2"])
def test_the_conversation_has_the_new_turn_at_its_end(name: str) -> None:
    answer = load_nlp_model(files(name), "cpu").conversational(TALK, SHORT)
    assert answer.past_user_inputs == ("My name is Clara.", "Where do you live?")
    assert answer.generated_responses == ("What's the answer?", answer.generated_text)


@pytest.mark.parametrize("name", ["blenderbot", "dialogue-gpt2"])
def test_a_long_conversation_is_an_error_unless_its_oldest_words_may_go(name: str) -> None:
    model = load_nlp_model(files(name), "cpu")
    long = Conversation("Where do you live?", ("My name is Clara. " * 30,), ("What?",))
    with pytest.raises(PromptTooLongError, match=r"tokens.*at most.*oldest"):
        model.conversational(long, SHORT)
    assert (
        model.conversational(long, SeqToSeqOptions(max_new_tokens=8, truncation=True)).generated_responses[0] == "What?"
    )


def test_a_conversation_has_one_next_turn(pair: NlpModel) -> None:
    with pytest.raises(InvalidParameterError, match="num_return_sequences"):
        pair.conversational(TALK, SeqToSeqOptions(num_return_sequences=2, do_sample=True))


def test_turns_must_be_whole() -> None:
    with pytest.raises(InvalidInputError, match="1 turns and `generated_responses` 0"):
        Conversation("a", ("b",), ())
    with pytest.raises(InvalidInputError, match="`text` is empty"):
        Conversation(" ")
