"""Both clients over a transport that is made up: the same calls, the same answers, the same errors."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from handful.client import AsyncClient, Client, exchange
from handful.errors import (
    EngineError,
    InvalidInputError,
    InvalidParameterError,
    NotFoundError,
    RemoteError,
    RequestTimeoutError,
)
from handful.protocol.sse import encode_event

Handler = Callable[[httpx.Request], httpx.Response]
Use = Callable[[Client], Any]


def frame(text: str, whole: str | None = None) -> bytes:
    return encode_event({"index": 1, "token": {"id": 1, "text": text}, "generated_text": whole})


def both(handler: Handler, method: str, *args: Any, **fields: Any) -> Any:
    """Call a method of both clients; streams are read to their end. The results must be equal."""
    with Client("http://server", "secret", transport=httpx.MockTransport(handler)) as client:
        blocking = getattr(client, method)(*args, **fields)
        blocking = list(blocking) if fields.get("stream") else blocking

    async def call() -> Any:
        async with AsyncClient("http://server", "secret", transport=httpx.MockTransport(handler)) as client:
            made = await getattr(client, method)(*args, **fields)
            return [text async for text in made] if fields.get("stream") else made

    assert asyncio.run(call()) == blocking
    return blocking


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "FIRST_BACKOFF_S", 0.0)


def test_a_text_is_continued() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("POST", "/models/org/name")
        assert request.headers["authorization"] == "Bearer secret"
        assert json.loads(request.content) == {
            "inputs": "a",
            "parameters": {"return_full_text": False, "stop": ["###"]},
            "stream": False,
        }
        return httpx.Response(200, json=[{"generated_text": " b"}])

    assert both(handler, "text_generation", "a", model="org/name", stop=["###"]) == " b"


def test_several_texts_are_continued_in_order() -> None:
    answer = [{"generated_text": " x"}, {"generated_text": " y"}]
    assert both(lambda _: httpx.Response(200, json=answer), "text_generation", ["a", "b"]) == [" x", " y"]


def test_generations_have_all_that_the_answer_says() -> None:
    details = {"finish_reason": "length", "generated_tokens": 1, "tokens": [{"id": 1, "text": "b"}]}
    answer = [{"generated_text": "b", "details": details}]
    (made,) = both(lambda _: httpx.Response(200, json=answer), "generations", "a", details=True)
    assert made.details.tokens[0].text == "b"


@pytest.mark.parametrize("parameters", [{"details": True}, {"num_return_sequences": 2}])
def test_what_gives_more_than_a_text_is_refused_before_it_is_sent(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="generations"):
        both(lambda _: httpx.Response(500), "text_generation", "a", **parameters)


def test_a_stream_gives_its_pieces() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content)["stream"] is True
        return httpx.Response(200, content=frame(" a") + frame("") + frame(" b", " a b"))

    assert both(handler, "text_generation", "a", stream=True) == [" a", " b"]


def test_predictions_come_one_for_one_and_list_for_list() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        inputs = json.loads(request.content)["inputs"]
        return httpx.Response(200, json=[{"input": each, "prediction": "x", "new": 1} for each in inputs])

    assert both(handler, "predict", "sentiment", "a").prediction == "x"
    assert both(handler, "predict", "sentiment", {"text": "a"}).input == {"text": "a"}
    assert [made.input for made in both(handler, "predict", "sentiment", ["a", "b"])] == ["a", "b"]


@pytest.mark.parametrize("status", [200, 503])
def test_health_is_told_good_or_bad(status: int) -> None:
    assert both(lambda _: httpx.Response(status, json={"status": "x"}), "health") == {"status": "x"}


def test_a_busy_server_is_asked_again() -> None:
    pending = [429, 200] * 2

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(pending.pop(0), headers={"retry-after": "0"}, json=[{"generated_text": "b"}])

    assert both(handler, "text_generation", "a") == "b"
    assert pending == []


def test_a_stream_is_opened_again_while_nothing_was_read() -> None:
    pending = [429, 200] * 2

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(pending.pop(0), headers={"retry-after": "0"}, content=frame("b", "b"))

    assert both(handler, "text_generation", "a", stream=True) == ["b"]
    assert pending == []


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (b"", RemoteError),
        (encode_event({"error": "It broke.", "error_type": "generation"}), EngineError),
        (b"data: {\n\n", RemoteError),
        (b"data: {}\n\n", RemoteError),
    ],
)
def test_a_stream_that_breaks_raises_and_is_not_sent_again(end: bytes, kind: type[Exception]) -> None:
    sent = 0

    def handler(_: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        return httpx.Response(200, content=frame("a") + end)

    with Client("http://server", transport=httpx.MockTransport(handler)) as client:
        stream = client.text_generation("a", stream=True)
        assert next(stream) == "a"
        with pytest.raises(kind):
            next(stream)
    assert sent == 1


class Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that never ends and remembers whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield frame("a")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield frame("a")

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


def test_closing_a_stream_closes_its_connection() -> None:
    body = Endless()
    with Client("http://server", transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=body))) as client:
        stream = client.text_generation("a", stream=True)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert body.is_closed


def test_closing_an_async_stream_closes_its_connection() -> None:
    body = Endless()

    async def check() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
        async with AsyncClient("http://server", transport=transport) as client:
            stream = await client.text_generation("a", stream=True)
            await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
            assert body.is_closed

    asyncio.run(check())


def test_errors_are_those_of_the_tree() -> None:
    with pytest.raises(NotFoundError, match="Model x"):
        both(lambda _: httpx.Response(404, json={"error": ["Model x does not exist"]}), "text_generation", "a")


@pytest.mark.parametrize("content", [b"", b"<html>", b"{}", b'[{"text": "a"}]', b"\xff"])
def test_an_answer_of_another_shape_is_a_remote_error(content: bytes) -> None:
    with pytest.raises(RemoteError, match="shape"):
        both(lambda _: httpx.Response(200, content=content), "text_generation", "a")


def test_a_redirect_never_gets_the_token() -> None:
    hosts = []

    def handler(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(307, headers={"location": "http://evil.example/"})

    with pytest.raises(RemoteError, match="307"):
        both(handler, "text_generation", "a")
    assert set(hosts) == {"server"}


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ReadTimeout("x"), RequestTimeoutError),
        (httpx.ReadError("x"), RemoteError),
        (httpx.ConnectError("x"), RemoteError),
    ],
)
def test_a_broken_connection_is_an_error_of_the_tree(raised: Exception, kind: type[Exception]) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise raised

    with pytest.raises(kind, match="http://server"):
        both(handler, "text_generation", "a")


@pytest.mark.parametrize("model", ["../health", "a b", "a/b/c", "a?b", "", "a#b", "%2e%2e"])
def test_a_name_that_is_no_name_is_not_sent(model: str) -> None:
    with pytest.raises(InvalidInputError, match="name of a model"):
        both(lambda _: httpx.Response(500), "text_generation", "a", model=model)


def test_a_parameter_that_is_no_finite_number_is_not_sent() -> None:
    with pytest.raises(InvalidInputError, match="finite"):
        both(lambda _: httpx.Response(500), "text_generation", "a", temperature=float("nan"))


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_token_is_in_no_repr(kind: Callable[..., object]) -> None:
    made = kind("http://server", "secret-token")
    assert "secret-token" not in repr(made) + repr(vars(made))


@pytest.mark.parametrize("url", ["server", "ftp://server", "http://", "http://user:pass@server", "http://server?x=1"])
def test_a_url_that_is_no_servers_is_refused(url: str) -> None:
    with pytest.raises(InvalidParameterError, match="url"):
        Client(url)


@pytest.mark.parametrize("token", ["", " ", "a\nb", "ü", "a\r\nx-evil: 1"])
def test_a_token_that_would_break_a_header_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(InvalidParameterError, match="`token` must") as caught:
        Client("http://server", token)
    assert "evil" not in str(caught.value)
