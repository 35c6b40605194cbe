"""Whatever a body holds, OpenAI's and TGI's requests are understood or refused; nothing else is raised."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from handful.errors import UserError
from handful.protocol.openai_answer import text_offsets
from handful.protocol.openai_chat import ChatRequest
from handful.protocol.openai_completions import CompletionRequest
from handful.protocol.openai_embeddings import EmbeddingRequest
from handful.protocol.text_generation import TextGenerationRequest
from handful.protocol.tgi import TokenizeRequest, generate_request
from handful.types import GenerationParameters, Token

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
GOOD: dict[type[BaseModel], dict[str, Any]] = {
    CompletionRequest: {"prompt": "a"},
    ChatRequest: {"messages": [{"role": "user", "content": "a"}]},
    EmbeddingRequest: {"input": "a"},
    TokenizeRequest: {"inputs": "a"},
}


def bodies(schema: type[BaseModel]) -> st.SearchStrategy[bytes]:
    """A request that is right but for a few fields."""
    names = st.sampled_from(sorted(schema.model_fields)) | st.text(max_size=5)
    changes = st.dictionaries(names, VALUES, max_size=3)
    return changes.map(lambda changed: json.dumps(GOOD[schema] | changed).encode())


def understood(read: Callable[[bytes], Any], body: bytes) -> Any:
    with suppress(UserError):
        return read(body)


@given(bodies(CompletionRequest))
@settings(max_examples=300, deadline=None)
def test_a_completion_is_understood_or_refused(body: bytes) -> None:
    asked = understood(CompletionRequest.from_body, body)
    if asked is not None:
        assert understood(lambda _: asked.prompts, b"") != ()
        made = understood(lambda _: asked.generation_parameters(), b"")
        assert made is None or isinstance(made, GenerationParameters)


@given(bodies(ChatRequest), st.integers(-10, 10_000))
@settings(max_examples=300, deadline=None)
def test_a_chat_is_understood_or_refused(body: bytes, num_tokens_left: int) -> None:
    asked = understood(ChatRequest.from_body, body)
    if asked is not None:
        made = understood(lambda _: asked.generation_parameters(num_tokens_left), b"")
        assert made is None or made.max_new_tokens >= 1


@given(bodies(EmbeddingRequest))
@settings(max_examples=100, deadline=None)
def test_an_embedding_is_understood_or_refused(body: bytes) -> None:
    asked = understood(EmbeddingRequest.from_body, body)
    if asked is not None:
        understood(lambda _: asked.prompts, b"")


@given(bodies(TokenizeRequest), st.booleans())
@settings(max_examples=100, deadline=None)
def test_tgis_requests_are_understood_or_refused(body: bytes, stream: bool) -> None:
    understood(TokenizeRequest.from_body, body)
    asked = understood(lambda content: generate_request(content, stream=stream), body)
    assert asked is None or (isinstance(asked, TextGenerationRequest) and asked.stream is stream)


@given(st.lists(st.text(max_size=4), max_size=8), st.text(max_size=3))
def test_offsets_of_tokens_that_make_a_text_cut_it_into_them(texts: list[str], rest: str) -> None:
    tokens = [Token(i, text) for i, text in enumerate(texts)]
    offsets = text_offsets(tokens, "".join(texts) + rest)
    if all(texts) and not any("\ufffd" in text for text in texts):
        assert offsets == [sum(map(len, texts[:i])) for i in range(len(texts))]
    assert offsets == sorted(offsets)
