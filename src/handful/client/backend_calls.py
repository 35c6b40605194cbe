"""What a remote model asks and how it reads the answers, without I/O."""

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from handful.checks import check_is_list
from handful.client.calls import StreamReader, json_bytes, no_part_of_a_text, read_answer, read_object
from handful.client.exchange import Answer, Call
from handful.errors import InvalidInputError, RemoteError
from handful.protocol.backend_answers import COUNTS, EVENT, GENERATIONS, SCORES, read_info, read_vectors
from handful.protocol.backend_requests import parameters_on_the_wire
from handful.protocol.names import check_name
from handful.types import Generation, GenerationParameters, ModelInfo, Prompt, Score, StreamEvent, TextSpan

MAX_TEXTS_A_CALL = 128
"""Texts sent in one request: enough to fill a server's steps, few enough not to fill its queue."""
MAX_CHARACTERS_A_CALL = 2_000_000

_SPANS = TypeAdapter(list[TextSpan])
Found = TypeVar("Found", bound=Sized)


def split_url(url: str) -> tuple[str, str | None]:
    """The server's URL and the model that it names: what stands behind `/models/`, or None."""
    parts = urlsplit(url)
    path, found, model = parts.path.partition("/models/")
    server = urlunsplit(parts._replace(path=path))
    return (server, check_name("model", model.strip("/"))) if found else (url, None)


def info(model: str | None) -> Call:
    """The call that asks what a model is; None is the server's first."""
    return Call("GET", "/info" if model is None else f"/models/{check_name('model', model)}/info")


def generate(model: str, prompts: Sequence[Prompt], parameters: GenerationParameters, *, stream: bool = False) -> Call:
    """The call that continues prompts."""
    body = {"inputs": _inputs(prompts), "parameters": parameters_on_the_wire(parameters), "stream": stream}
    return Call("POST", _path(model, "generate"), json_bytes(body), is_streamed=stream)


def score(model: str, prompts: Sequence[str], continuations: Sequence[str]) -> Call:
    """The call that scores continuations behind prompts."""
    check_is_list("continuations", continuations)
    body = {"inputs": _inputs(prompts), "continuations": list(continuations)}
    return Call("POST", _path(model, "score"), json_bytes(body))


def embed(model: str, prompts: Sequence[Prompt], layer: int | None = None) -> Call:
    """The call that asks for hidden states, as float32 and not as decimal numbers."""
    body = {"inputs": _inputs(prompts), "encoding_format": "base64"} | ({} if layer is None else {"layer": layer})
    return Call("POST", _path(model, "embed"), json_bytes(body))


def count_tokens(model: str, text: str) -> Call:
    """The call that counts a text's tokens."""
    return Call("POST", _path(model, "count_tokens"), json_bytes({"inputs": _inputs([text])}))


def tokenize(model: str, text: str, *, add_special: bool) -> Call:
    """The call that asks for a text's tokens."""
    body = {"inputs": text, "add_special_tokens": add_special, "model": check_name("model", model)}
    return Call("POST", "/tokenize", json_bytes(body))


@dataclass(frozen=True, slots=True)
class Served:
    """A model as its server describes it, and how many completions one request may ask for."""

    info: ModelInfo
    max_completions: int

    def parts(self, texts: Sequence[str], num_each: int = 1, most: int = MAX_TEXTS_A_CALL) -> Iterator[Sequence[str]]:
        """Texts in their order, in parts of a request's size, each text costing `num_each` completions."""
        check_is_list("prompts", texts)
        most = max(1, min(most, self.max_completions, MAX_TEXTS_A_CALL) // num_each)
        start = num_characters = 0
        for index, text in enumerate(texts):
            if index - start == most or (index > start and num_characters + len(text) > MAX_CHARACTERS_A_CALL):
                yield texts[start:index]
                start, num_characters = index, 0
            num_characters += len(text)
        if start < len(texts):
            yield texts[start:]


def read_served(answer: Answer, url: str) -> Served:
    """What a model is."""
    told = read_object(answer)
    most = told.get("max_client_batch_size")
    return Served(read_info(told.get("handful"), url), most if isinstance(most, int) else MAX_TEXTS_A_CALL)


def read_generated(answer: Answer, num_wanted: int) -> list[Generation]:
    """A generation for each prompt."""
    return _counted(read_answer(GENERATIONS, answer), num_wanted)


def read_scores(answer: Answer, num_wanted: int) -> list[Score]:
    """A score for each prompt."""
    return _counted(read_answer(SCORES, answer), num_wanted)


def read_embedded(answer: Answer, num_wanted: int, hidden_size: int) -> NDArray[np.float32]:
    """`[num_wanted, hidden_size]`."""
    return _counted(read_vectors(answer.body, hidden_size), num_wanted)


def read_count(answer: Answer) -> int:
    """A text's number of tokens."""
    return _counted(read_answer(COUNTS, answer), 1)[0]


def read_spans(answer: Answer) -> tuple[TextSpan, ...]:
    """A text's tokens."""
    spans = read_answer(_SPANS, answer)
    return tuple(spans)


class EventReader(StreamReader[StreamEvent]):
    """The events of a streamed generation."""

    def take(self, value: object) -> StreamEvent | None:
        """See `StreamReader.take`."""
        try:
            event = EVENT.validate_python(value)
        except ValidationError:
            raise no_part_of_a_text() from None
        self.is_complete = event.generation is not None
        return event


def _counted(found: Found, num_wanted: int) -> Found:
    if len(found) != num_wanted:
        raise RemoteError(f"The server answered {len(found)} of {num_wanted} inputs.")
    return found


def _inputs(prompts: Sequence[Prompt]) -> list[str | list[int]]:
    for prompt in prompts:
        if not isinstance(prompt, str | tuple):
            raise InvalidInputError(f"A prompt must be text, not {type(prompt).__name__}.")
        if isinstance(prompt, str) and not prompt.isascii():
            try:
                prompt.encode()
            except UnicodeEncodeError:
                raise InvalidInputError("A prompt holds half a surrogate pair, which is not text.") from None
    return [prompt if isinstance(prompt, str) else list(prompt) for prompt in prompts]


def _path(model: str, verb: str) -> str:
    return f"/models/{check_name('model', model)}/backend/{verb}"
