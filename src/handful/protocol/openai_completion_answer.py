"""The answer of OpenAI's `POST /v1/completions`, whole and streamed.

* The end sequence is not in the text, but its tokens are in `logprobs` and in the count: every token that was generated
  is told, so that with `echo` and `max_tokens: 1` there is exactly one entry more than the prompt has tokens.
* `text_offset` counts characters of the choice's own `text`.
* `top_logprobs` has the best alternatives by their text, and always the token itself. Where two tokens have the same
  text (parts of a character), the more probable one stands for it.
* The first token of an echoed prompt has null for its log-probability: nothing predicts it.
"""

from collections.abc import Sequence
from typing import Any

from handful.protocol.generated_text import as_wire, details_of
from handful.protocol.openai_answer import Heading, openai_reason, streamed_usage, text_offsets, usage
from handful.protocol.openai_completions import CompletionRequest
from handful.protocol.text_generation import TextGenerationParameters, TextGenerationRequest
from handful.types import Completion, Generation, Prompt, StreamEvent, Token

_DETAILS = TextGenerationRequest(inputs="-", parameters=TextGenerationParameters(details=True))


def _top(token: Token) -> dict[str, float] | None:
    """The alternatives at a token's place by their text; None where nothing was predicted."""
    if token.logprob is None:
        return None
    found: dict[str, float] = {}
    for text, logprob in (*((each.text, each.logprob) for each in token.top), (token.text, token.logprob)):
        found[text] = max(found.get(text, logprob), logprob)
    return found


def logprobs_of(tokens: Sequence[Token], offsets: list[int]) -> dict[str, Any]:
    """The four lists of OpenAI's completions, as long as `tokens`."""
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [_top(token) for token in tokens],
        "text_offset": offsets,
    }


def _choice(asked: CompletionRequest, prompt: Prompt, generation: Generation, completion: Completion) -> dict[str, Any]:
    text, tokens = completion.text, completion.tokens
    if asked.begins_with_prompt:
        text = (prompt if isinstance(prompt, str) else generation.prompt_text) + text
        tokens = generation.prompt_tokens + tokens
    said = None if asked.logprobs is None else logprobs_of(tokens, text_offsets(tokens, text))
    choice = {"text": text, "logprobs": said, "finish_reason": openai_reason(completion.finish_reason)}
    if asked.details:
        choice["details"] = as_wire(details_of(generation, completion, _DETAILS))
    return choice


def completion_answer(asked: CompletionRequest, heading: Heading, generations: Sequence[Generation]) -> dict[str, Any]:
    """The body of a whole answer: the choices of the first prompt, then those of the next."""
    choices = [
        _choice(asked, prompt, generation, completion)
        for prompt, generation in zip(asked.prompts, generations, strict=True)
        for completion in generation.completions
    ]
    numbered = [{"index": index} | choice for index, choice in enumerate(choices)]
    return heading.of("text_completion") | {"choices": numbered, "usage": usage(generations)}


class CompletionWriter:
    """Turns the events of a request's streams into chunks. Stream `i` is choice `i`."""

    def __init__(self, asked: CompletionRequest, heading: Heading) -> None:
        self._asked, self._heading = asked, heading
        self._lengths: dict[int, int] = {}
        self._ended: dict[int, Generation] = {}

    def chunks(self, index: int, event: StreamEvent) -> list[dict[str, Any]]:
        """The chunks of one event: often one, none where a token released no text yet and isn't asked about."""
        made = []
        if index not in self._lengths:
            self._lengths[index] = 0
            if self._asked.begins_with_prompt:
                made.append(self._chunk(index, self._prompt_text(index)))
        if event.generation is not None:
            self._ended[index] = event.generation
            reason = openai_reason(event.generation.completions[0].finish_reason)
            made.append(self._chunk(index, event.text, reason=reason))
        elif event.text or self._asked.logprobs is not None:
            made.append(self._chunk(index, event.text, event.token))
        return made

    def last_chunks(self) -> list[dict[str, Any]]:
        """What follows the last event: the count of tokens, where it was asked for."""
        if not self._asked.includes_usage:
            return []
        generations = [self._ended[index] for index in sorted(self._ended)]
        counted = streamed_usage(generations, self._asked.n)
        return [self._heading.of("text_completion") | {"choices": [], "usage": counted}]

    def _prompt_text(self, index: int) -> str:
        return str(self._asked.prompts[index // self._asked.n])

    def _chunk(self, index: int, text: str, token: Token | None = None, reason: str | None = None) -> dict[str, Any]:
        said = None
        if self._asked.logprobs is not None and token is not None:
            said = logprobs_of([token], [self._lengths[index]])  # where the text so far ends
        self._lengths[index] += len(text)
        choice = {"index": index, "text": text, "logprobs": said, "finish_reason": reason}
        extra = {"usage": None} if self._asked.includes_usage else {}
        return self._heading.of("text_completion") | {"choices": [choice]} | extra
