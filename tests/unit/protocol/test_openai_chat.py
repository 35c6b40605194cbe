"""OpenAI's chats and embeddings: what is accepted and refused, and how answers look."""

import base64
import json
from typing import Any, get_args

import numpy as np
import pytest

from handful.errors import HandfulError, InvalidInputError, InvalidParameterError
from handful.protocol.openai_answer import Heading
from handful.protocol.openai_chat import ChatRequest, Role
from handful.protocol.openai_chat_answer import ChatWriter, chat_answer
from handful.protocol.openai_embeddings import EmbeddingRequest, embedding_answer
from handful.types import Alternative, Completion, Generation, StreamEvent, Token

HEADING = Heading("chatcmpl-1", 17, "default")
HELLO = [{"role": "user", "content": "Hello"}]
TOKEN = Token(1, "Hi", -0.5, top=(Alternative(1, "Hi", -0.5), Alternative(2, "\ufffd", -1.5)))
GENERATION = Generation((Completion("Hi", "eos_token", tokens=(TOKEN,)),), 3)


def request(**fields: Any) -> ChatRequest:
    return ChatRequest.from_body(json.dumps({"messages": HELLO} | fields).encode())


def test_content_is_a_text_or_text_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = request(messages=[{"role": "user", "content": parts, "name": "me"}])
    assert [m.as_template_sees_it() for m in asked.messages] == [{"role": "user", "content": "a\nb", "name": "me"}]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "Hello",
        [{"role": "user"}],
        [{"content": "a"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        [{"role": "user", "content": "a", "tool_calls": []}],
        [{"role": "", "content": "a"}],
        [{"role": 1, "content": "a"}],
        [{"role": "User", "content": "a"}],
        [{"role": "user", "content": "\ud800"}],
    ],
)
def test_messages_that_cannot_be_honoured_are_refused(messages: Any) -> None:
    with pytest.raises(HandfulError, match="messages"):
        request(messages=messages)


@pytest.mark.parametrize("role", get_args(Role))
def test_a_message_has_one_of_openais_roles(role: str) -> None:
    (message,) = request(messages=[{"role": role, "content": "a"}]).messages
    assert message.as_template_sees_it()["role"] == role


def test_a_role_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInputError) as refused:
        request(messages=[*HELLO, {"role": "robot", "content": "a"}])
    assert "`messages.1.role`" in str(refused.value)
    assert all(f"'{role}'" in str(refused.value) for role in get_args(Role))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", []),
        ("tool_choice", "auto"),
        ("functions", [{}]),
        ("modalities", ["audio"]),
        ("user", "me"),
        ("top_logprobs", 2),
        ("stream_options", {}),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        request(**{name: value})
    assert caught.value.parameter == name


def test_only_text_is_a_format() -> None:
    assert request(response_format={"type": "text"}).response_format is not None
    with pytest.raises(HandfulError, match="response_format"):
        request(response_format={"type": "json_object"})


@pytest.mark.parametrize(
    ("fields", "left", "limit"),
    [
        ({}, 5000, 1024),
        ({}, 100, 100),
        ({}, -5, 1),
        ({"max_tokens": 7}, 100, 7),
        ({"max_completion_tokens": 8}, 100, 8),
        ({"max_tokens": 200}, 100, 200),
    ],
)
def test_the_limit_is_what_was_asked_or_what_is_left(fields: dict[str, Any], left: int, limit: int) -> None:
    assert request(**fields).generation_parameters(left).max_new_tokens == limit


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"temperature": -1}, "temperature"),
    ],
)
def test_a_bad_value_is_told_under_the_clients_name(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        request(**fields).generation_parameters(100)
    assert caught.value.parameter == name


def test_an_answer() -> None:
    made = chat_answer(request(), HEADING, GENERATION)
    assert made["object"] == "chat.completion"
    assert made["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "logprobs": None, "finish_reason": "stop"}
    ]
    assert made["usage"]["total_tokens"] == 4


def test_log_probabilities_have_bytes_where_the_text_tells_them() -> None:
    said = chat_answer(request(logprobs=True, top_logprobs=2), HEADING, GENERATION)["choices"][0]["logprobs"]
    assert said["content"] == [
        {
            "token": "Hi",
            "logprob": -0.5,
            "bytes": [72, 105],
            "top_logprobs": [
                {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]},
                {"token": "\ufffd", "logprob": -1.5, "bytes": None},
            ],
        }
    ]


def test_the_first_chunk_has_the_role_and_the_last_the_reason() -> None:
    writer = ChatWriter(request(stream=True, stream_options={"include_usage": True}), HEADING)
    events = [StreamEvent("", TOKEN), StreamEvent("H", None), StreamEvent("i", None, GENERATION)]
    made = [chunk["choices"][0] for event in events for chunk in writer.chunks(0, event)]
    assert [choice["delta"] for choice in made] == [
        {"role": "assistant", "content": ""},
        {"content": "H"},
        {"content": "i"},
        {},
    ]
    assert [choice["finish_reason"] for choice in made] == [None, None, None, "stop"]
    assert writer.last_chunks()[0]["usage"]["completion_tokens"] == 1


def embedding(**fields: Any) -> EmbeddingRequest:
    return EmbeddingRequest.from_body(json.dumps({"input": "a"} | fields).encode())


def test_vectors_are_scaled_to_length_one_in_the_order_of_the_inputs() -> None:
    vectors = [np.array([3, 4], dtype=np.float32), np.zeros(2, dtype=np.float32)]
    made = embedding_answer(embedding(input=["a", "b"]), "default", vectors, 5)
    assert [each["embedding"] for each in made["data"]] == [pytest.approx([0.6, 0.8]), [0, 0]]
    assert [each["index"] for each in made["data"]] == [0, 1]
    assert made["usage"] == {"prompt_tokens": 5, "total_tokens": 5}


def test_base64_is_float32_little_endian() -> None:
    vector = np.array([0, -2], dtype=np.float32)
    made = embedding_answer(embedding(encoding_format="base64"), "default", [vector], 1)
    assert np.frombuffer(base64.b64decode(made["data"][0]["embedding"]), "<f4").tolist() == [0, -1]


def test_only_the_models_own_dimensions_are_taken() -> None:
    embedding(dimensions=4).check_dimensions(4)
    with pytest.raises(InvalidParameterError, match="dimensions"):
        embedding(dimensions=3).check_dimensions(4)


@pytest.mark.parametrize("fields", [{"user": "me"}, {"encoding_format": "int8"}, {"foo": 1}, {"input": {}}])
def test_an_embedding_that_cannot_be_honoured_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(HandfulError):
        embedding(**fields)
