"""What OpenAI's answers share: their heading, the words for an end, and the count of tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from handful.types import FinishReason, Generation, Token

_REASONS = {"length": "length", "max_time": "length", "eos_token": "stop", "stop_sequence": "stop"}


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above every answer and chunk of one request. `created` is in seconds since 1970."""

    id: str
    created: int
    model: str

    def of(self, kind: str) -> dict[str, Any]:
        """The heading of an object of this kind."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def openai_reason(reason: FinishReason) -> str:
    """`stop` for an end that the model or an end sequence made, `length` for a cut."""
    return _REASONS[reason]


def usage(generations: Iterable[Generation]) -> dict[str, Any]:
    """Tokens read, generated (those of an end sequence too) and found in the cache; one generation for each prompt."""
    made = list(generations)
    num_prompt = sum(each.num_prompt_tokens for each in made)
    num_generated = sum(len(completion.tokens) for each in made for completion in each.completions)
    return {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_generated,
        "total_tokens": num_prompt + num_generated,
        "prompt_tokens_details": {"cached_tokens": sum(each.num_cached_tokens for each in made)},
    }


def streamed_usage(generations: list[Generation], num_streams_each: int) -> dict[str, Any]:
    """The same for streams, where each of a prompt's texts was a request of its own; the prompt counts once."""
    counted = usage(generations)
    first = usage(generations[::num_streams_each])
    counted |= {name: first[name] for name in ("prompt_tokens", "prompt_tokens_details")}
    counted["total_tokens"] = counted["prompt_tokens"] + counted["completion_tokens"]
    return counted


def text_offsets(tokens: Iterable[Token], text: str) -> list[int]:
    """Where in `text` each token's text starts.

    Tokens that hold part of a character (their text has U+FFFD) start where that character does; tokens that aren't in
    the text (marks, an end sequence) start where it would go on.
    """
    offsets: list[int] = []
    position = num_pending = 0
    for token in tokens:
        found = text.find(token.text, position, position + num_pending + len(token.text)) if token.text else -1
        offsets.append(min(position if found < 0 else found, len(text)))
        if found >= 0:
            position, num_pending = found + len(token.text), 0
        elif "\ufffd" in token.text:
            num_pending += 1
    return offsets
