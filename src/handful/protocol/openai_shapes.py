"""What OpenAI's routes answer: shapes, and an example of each that the routes' own functions made."""

from typing import Literal

import numpy as np

from handful.protocol.generated_text import Details
from handful.protocol.openai_answer import Heading
from handful.protocol.openai_chat import ChatRequest
from handful.protocol.openai_chat_answer import chat_answer
from handful.protocol.openai_completion_answer import completion_answer
from handful.protocol.openai_completions import CompletionRequest
from handful.protocol.openai_embeddings import EmbeddingRequest, embedding_answer
from handful.protocol.shapes import Example, Shape
from handful.types import Completion, Generation, Token

Reason = Literal["stop", "length"]


class CachedTokens(Shape):
    """Tokens of the prompts that weren't computed anew."""

    cached_tokens: int


class TokenUsage(Shape):
    """Tokens read and generated."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class CompletionLogprobs(Shape):
    """Lists of the same length, one entry a token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(Shape):
    """A text behind one of the prompts. `details` are there where they were asked for."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Reason
    details: Details | None = None


class CompletionAnswer(Shape):
    """The choices of the first prompt, then those of the next."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: TokenUsage


class ChatAlternative(Shape):
    """A token that could have stood there."""

    token: str
    logprob: float | None
    bytes: list[int] | None


class ChatToken(ChatAlternative):
    """A token of the answer."""

    top_logprobs: list[ChatAlternative]


class ChatLogprobs(Shape):
    """The tokens of an answer."""

    content: list[ChatToken]
    refusal: None


class ChatMessage(Shape):
    """What the assistant says."""

    role: Literal["assistant"]
    content: str


class ChatChoice(Shape):
    """One answer."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Reason


class ChatAnswer(Shape):
    """The answers to a conversation."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage


class EmbeddedText(Shape):
    """The vector of an input, of length 1: numbers, or float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Shape):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingAnswer(Shape):
    """One vector for each input, in their order."""

    object: Literal["list"]
    data: list[EmbeddedText]
    model: str
    usage: EmbeddingUsage


class ModelCard(Shape):
    """A served model; its context in tokens is told once it has loaded."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int | None = None


class ModelCards(Shape):
    """Served models."""

    object: Literal["list"]
    data: list[ModelCard]


_GENERATION = Generation((Completion(" Paris.", "stop_sequence", tokens=(Token(7, " Paris"), Token(8, "."))),), 6, 4)
COMPLETION: Example = completion_answer(
    CompletionRequest.from_body(b'{"prompt": "The capital of France is"}'),
    Heading("cmpl-1", 1_700_000_000, "default"),
    [_GENERATION],
)
CHAT: Example = chat_answer(
    ChatRequest.from_body(b'{"messages": [{"role": "user", "content": "The capital of France?"}]}'),
    Heading("chatcmpl-1", 1_700_000_000, "default"),
    _GENERATION,
)
EMBEDDING: Example = embedding_answer(
    EmbeddingRequest.from_body(b'{"input": "A text."}'),
    "default-embeddings",
    [np.array([3, 4], dtype=np.float32)],
    4,
)
