"""The Inference API's conversations, answered by a language model."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from handful.errors import InvalidInputError, InvalidParameterError
from handful.nlp_types import Conversation, SeqToSeqOptions
from handful.server.nlp_conversation import next_turn
from handful.server.openai_chat_renderer import ChatRenderer
from handful.types import ChatTemplate, GenerationParameters
from tests.unit.server.serving import FakeModel

CONVERSATION = Conversation("And?", ("Hi",), ("Hello",))


class Lines(ChatRenderer):
    """Writes a line a message, without a process; the real renderer has its own tests."""

    async def render(self, template: ChatTemplate, messages: Sequence[Mapping[str, str]]) -> str:
        return "".join(f"{message['role'][0]}:{message['content']}\n" for message in messages)


def talk(template: str | None = "x", **options: Any) -> tuple[Any, FakeModel]:
    model = FakeModel(chat_template=None if template is None else ChatTemplate(template))
    return asyncio.run(next_turn(model, Lines(), CONVERSATION, SeqToSeqOptions(**options))), model


def test_the_turns_become_messages_and_the_answer_the_next_turn() -> None:
    made, model = talk(max_new_tokens=2)
    assert model.prompts == [tuple(map(ord, "u:Hi\na:Hello\nu:And?\n"))]
    assert (made.generated_text, made.generated_responses) == ("w1 w2", ("Hello", "w1 w2"))
    assert made.past_user_inputs == ("Hi", "And?")


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, GenerationParameters()),
        ({"max_new_tokens": 3, "seed": 5}, GenerationParameters(max_new_tokens=3, seed=5)),
        ({"temperature": 0.5, "top_k": 4}, GenerationParameters(temperature=0.5, top_k=4)),
        ({"do_sample": True}, GenerationParameters(temperature=1.0)),
        ({"do_sample": False, "top_p": 0.5}, GenerationParameters(temperature=0.0, top_p=0.5)),
    ],
)
def test_options_are_the_engines(options: dict[str, Any], parameters: GenerationParameters) -> None:
    _, model = talk(**options)
    assert model.parameters == [parameters]


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_length", 9), ("min_length", 2), ("num_beams", 2), ("src_lang", "en"), ("truncation", True)],
)
def test_what_only_other_models_have_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        talk(**{name: value})
    assert refused.value.parameter == name


def test_a_model_without_a_chat_template_has_no_conversations() -> None:
    with pytest.raises(InvalidInputError, match="no chat template"):
        talk(None)
