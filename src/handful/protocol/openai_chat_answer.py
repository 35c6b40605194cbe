"""The answer of OpenAI's `POST /v1/chat/completions`, whole and streamed.

`logprobs.content` has every generated token, those of an end sequence too. `bytes` is null for a token that is a part
of a character: its text can't say which bytes it has.
"""

from typing import Any

from handful.protocol.openai_answer import Heading, openai_reason, streamed_usage, usage
from handful.protocol.openai_chat import ChatRequest
from handful.types import Alternative, Completion, Generation, StreamEvent, Token


def _described(token: Token | Alternative) -> dict[str, Any]:
    is_cut = "\ufffd" in token.text
    return {"token": token.text, "logprob": token.logprob, "bytes": None if is_cut else list(token.text.encode())}


def _logprobs(asked: ChatRequest, tokens: tuple[Token, ...]) -> dict[str, Any] | None:
    if not asked.logprobs:
        return None
    content = [_described(token) | {"top_logprobs": [_described(each) for each in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def _choice(asked: ChatRequest, completion: Completion) -> dict[str, Any]:
    return {
        "message": {"role": "assistant", "content": completion.text},
        "logprobs": _logprobs(asked, completion.tokens),
        "finish_reason": openai_reason(completion.finish_reason),
    }


def chat_answer(asked: ChatRequest, heading: Heading, generation: Generation) -> dict[str, Any]:
    """The body of a whole answer."""
    choices = [{"index": i} | _choice(asked, completion) for i, completion in enumerate(generation.completions)]
    return heading.of("chat.completion") | {"choices": choices, "usage": usage([generation])}


class ChatWriter:
    """Turns the events of a request's streams into chunks. Stream `i` is choice `i`; its first chunk has the role."""

    def __init__(self, asked: ChatRequest, heading: Heading) -> None:
        self._asked, self._heading = asked, heading
        self._begun: set[int] = set()
        self._ended: dict[int, Generation] = {}

    def chunks(self, index: int, event: StreamEvent) -> list[dict[str, Any]]:
        """The chunks of one event; none where a token released no text yet and isn't asked about."""
        made = []
        if index not in self._begun:
            self._begun.add(index)
            made.append(self._chunk(index, {"role": "assistant", "content": ""}))
        tokens = () if event.token is None else (event.token,)
        if event.text or (self._asked.logprobs and tokens):
            made.append(self._chunk(index, {"content": event.text}, tokens))
        if event.generation is not None:
            self._ended[index] = event.generation
            reason = openai_reason(event.generation.completions[0].finish_reason)
            made.append(self._chunk(index, {}, reason=reason))
        return made

    def last_chunks(self) -> list[dict[str, Any]]:
        """What follows the last event: the count of tokens, where it was asked for."""
        if not self._asked.includes_usage:
            return []
        counted = streamed_usage(list(self._ended.values()), self._asked.n)
        return [self._heading.of("chat.completion.chunk") | {"choices": [], "usage": counted}]

    def _chunk(
        self, index: int, delta: dict[str, Any], tokens: tuple[Token, ...] = (), reason: str | None = None
    ) -> dict[str, Any]:
        said = _logprobs(self._asked, tokens) if tokens else None
        choice = {"index": index, "delta": delta, "logprobs": said, "finish_reason": reason}
        extra = {"usage": None} if self._asked.includes_usage else {}
        return self._heading.of("chat.completion.chunk") | {"choices": [choice]} | extra
