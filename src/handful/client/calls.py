"""What a client asks and how it reads the answers, without I/O."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from handful.client.exchange import Answer, Call
from handful.errors import InvalidInputError, InvalidParameterError, RemoteError
from handful.protocol.errors import error_from_event
from handful.protocol.generated_text import GeneratedText, StreamFrame
from handful.protocol.names import check_name
from handful.protocol.sse import EventParser
from handful.protocol.tasks import WirePrediction
from handful.task.inputs import Input
from handful.task.predict import Prediction

Value = TypeVar("Value")
HEALTH = Call("GET", "/health")
Inputs = list[str] | list[Mapping[str, str]] | list[Input]
"""Several inputs of a task. A list, so that one text is never taken for several."""
_OBJECT = TypeAdapter(dict[str, Any])
_TEXTS = TypeAdapter(list[GeneratedText])
_PREDICTIONS = TypeAdapter(list[WirePrediction])


def text_generation(
    prompt: str | Sequence[str], model: str, parameters: Mapping[str, Any], *, stream: bool = False
) -> Call:
    """The call that continues texts. Unlike the server, a client leaves the prompt out unless it is asked for."""
    inputs = prompt if isinstance(prompt, str) else list(prompt)
    body = {"inputs": inputs, "parameters": {"return_full_text": False, **parameters}, "stream": stream}
    return Call("POST", f"/models/{check_name('model', model)}", json_bytes(body), is_streamed=stream)


def prediction(task: str, inputs: Input | Inputs) -> Call:
    """The call that asks a task."""
    given = [each if isinstance(each, str) else dict(each) for each in _listed(inputs)]
    return Call("POST", f"/tasks/{check_name('task', task)}", json_bytes({"inputs": given}))


def refuse_several(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters whose answer is more than one text for each prompt."""
    for name, single in (("num_return_sequences", 1), ("details", False)):
        if parameters.get(name, single) not in (None, single):
            raise InvalidParameterError(name, "answers with more than a text.", fix="Call `generations` instead.")


def read_generations(answer: Answer) -> list[GeneratedText]:
    """The generated texts of an answer that isn't nested."""
    return read_answer(_TEXTS, answer)


def read_predictions(answer: Answer) -> list[Prediction]:
    """The predictions of an answer, in the order of the inputs."""
    return [Prediction(**dict(wire)) for wire in read_answer(_PREDICTIONS, answer)]


def read_object(answer: Answer) -> dict[str, Any]:
    """A JSON object."""
    return read_answer(_OBJECT, answer)


class StreamReader(ABC, Generic[Value]):
    """Bytes of a streamed answer in, values out; knows whether the stream has come to its end."""

    def __init__(self) -> None:
        self._parser = EventParser()
        self.is_complete = False

    @abstractmethod
    def take(self, value: object) -> Value | None:
        """The value of an event's JSON, if it has one; sets `is_complete` at the last. Raises RemoteError."""

    def feed(self, chunk: bytes) -> Iterator[Value]:
        """The values that `chunk` completes, then the error that an event stands for, raised in its place."""
        for event in self._parser.feed(chunk):
            if event.data != "[DONE]" and (value := self.take(_event_value(event.data))) is not None:
                yield value

    def finish(self) -> None:
        """To be called when the connection closed. Raises RemoteError where the last event never came."""
        if not self.is_complete:
            raise RemoteError("The stream ended before its text did.", retryable=True)


class TextReader(StreamReader[str]):
    """The pieces of a text that is streamed as the Inference API does."""

    def take(self, value: object) -> str | None:
        """See `StreamReader.take`."""
        try:
            frame = StreamFrame.model_validate(value)
        except ValidationError:
            raise no_part_of_a_text() from None
        self.is_complete = frame.generated_text is not None
        return frame.token.text or None


def no_part_of_a_text() -> RemoteError:
    """What is raised where an event isn't what this stream is made of."""
    return RemoteError("The stream holds an event that is no part of a text.")


def _event_value(data: str) -> object:
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError):
        raise RemoteError("The stream holds something that is not JSON.") from None
    if isinstance(value, dict) and value.get("error") is not None:
        raise error_from_event(value)
    return value


def _listed(inputs: Input | Inputs) -> Sequence[Input]:
    return [inputs] if isinstance(inputs, str | Mapping) else inputs


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """A request's body. Raises InvalidInputError for numbers that JSON doesn't have."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError:
        raise InvalidInputError("A parameter is not a finite number.") from None


def read_answer(adapter: TypeAdapter[Value], answer: Answer) -> Value:
    """The value of an answer's JSON. Raises RemoteError for another shape."""
    try:
        return adapter.validate_json(answer.body)
    except ValidationError:
        raise RemoteError("The server's answer has another shape than handful's.", status=answer.status) from None
