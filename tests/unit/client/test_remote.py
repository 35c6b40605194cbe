"""A model behind a real server is the same `Backend` as in this process: the same answers, the same errors."""

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial

import httpx
import numpy as np
import pytest

import handful
from handful import AsyncClient, Client, connect
from handful.backend import AsyncBackend, Backend
from handful.client import backend_calls
from handful.client import remote as remote_module
from handful.client.remote import RemoteModel
from handful.config import Settings
from handful.errors import (
    HandfulError,
    InvalidInputError,
    InvalidParameterError,
    NotFoundError,
    PromptTooLongError,
    RemoteError,
    RequestTimeoutError,
)
from handful.local import LocalModel, load
from handful.protocol.backend_requests import BackendParameters
from handful.server.limits import Limits
from handful.types import Generation, GenerationParameters
from tests.unit.client.live import live
from tests.unit.model.tiny_models import checkpoint

GREEDY = GenerationParameters(max_new_tokens=12)
PROMPTS = ["the review is", "a good film", "the review is positive and"]
LABELS = [" positive", " negative", " a good film"]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalModel]:
    made = load(str(checkpoint("llama")), configuration=Settings(precision="float32", kv_memory_mb=16))
    yield made
    made.loop.call(lambda engine: engine.check_integrity())
    made.close()


@pytest.fixture(scope="module")
def url(local: LocalModel) -> Iterator[str]:
    with live({"tiny": local, "org/tiny": local}) as there:
        yield there


@pytest.fixture(scope="module")
def remote(url: str) -> Iterator[RemoteModel]:
    with connect(f"{url}/models/tiny") as there:
        yield there


def without_cache(generations: list[Generation]) -> list[Generation]:
    """The same but for how much was found in the cache, which depends on what ran before."""
    return [replace(each, num_cached_tokens=0) for each in generations]


def is_backend(backend: Backend) -> Backend:
    return backend


ASKED = [
    GREEDY,
    replace(GREEDY, temperature=1.3, seed=3, top_k=20, top_p=0.9, typical_p=0.9, repetition_penalty=1.2),
    replace(GREEDY, temperature=1.0, seed=5, n=3),
    replace(GREEDY, temperature=1.0, seed=5, best_of=3, logprobs=0),
    replace(GREEDY, stop=("e", "re"), presence_penalty=0.5, frequency_penalty=0.5),
    replace(GREEDY, logprobs=3, echo=True),
    replace(GREEDY, max_new_tokens=0, echo=True, logprobs=0),
    replace(GREEDY, logit_bias=((7, 100.0),), min_new_tokens=3, ignore_eos=True),
    replace(GREEDY, choices=(" positive", " negative")),
]


@pytest.mark.parametrize("parameters", ASKED, ids=range(len(ASKED)))
def test_generations_are_those_of_the_model_here(
    local: LocalModel, remote: RemoteModel, parameters: GenerationParameters
) -> None:
    here, there = local.generate(PROMPTS, parameters), is_backend(remote).generate(PROMPTS, parameters)
    assert len(here) == 3
    for one, other in zip(without_cache(here), without_cache(there), strict=True):
        assert [c.text for c in one.completions] == [c.text for c in other.completions]
        assert [c.finish_reason for c in one.completions] == [c.finish_reason for c in other.completions]
        assert (one.prompt_text, one.num_prompt_tokens) == (other.prompt_text, other.num_prompt_tokens)
        for mine, theirs in zip(one.completions, other.completions, strict=True):
            assert [(t.id, t.text, t.special) for t in mine.tokens] == [
                (t.id, t.text, t.special) for t in theirs.tokens
            ]
            assert theirs.cumulative_logprob == pytest.approx(mine.cumulative_logprob, abs=1e-4)
            assert (mine.stop, mine.seed) == (theirs.stop, theirs.seed)
        mine_read, theirs_read = ([t.logprob for t in each.prompt_tokens] for each in (one, other))
        assert theirs_read == pytest.approx(mine_read, abs=1e-4)


def test_scores_are_those_of_the_model_here(local: LocalModel, remote: RemoteModel) -> None:
    here, there = local.score(PROMPTS, LABELS), remote.score(PROMPTS, LABELS)
    for one, other in zip(here, there, strict=True):
        assert other.logprobs == pytest.approx(one.logprobs, abs=1e-4)
        assert (one.num_tokens, one.num_prompt_tokens) == (other.num_tokens, other.num_prompt_tokens)


def test_hidden_states_are_those_of_the_model_here(local: LocalModel, remote: RemoteModel) -> None:
    here, there = local.embed(PROMPTS), remote.embed(PROMPTS)
    assert (there.shape, str(there.dtype)) == (here.shape, "float32")
    assert np.abs(here - there).max() < 1e-4
    assert np.abs(local.embed(PROMPTS, layer=1) - remote.embed(PROMPTS, layer=1)).max() < 1e-4
    assert np.abs(local.embed(PROMPTS, layer=1) - here).max() > 1e-2


def test_counts_are_those_of_the_model_here(local: LocalModel, remote: RemoteModel) -> None:
    for text in (*PROMPTS, "", "é🙂"):
        assert remote.count_tokens(text) == local.count_tokens(text)


def test_the_model_says_what_it_is(local: LocalModel, remote: RemoteModel, url: str) -> None:
    assert remote.info == replace(local.info, name="tiny", source=url, details={})


def test_the_joined_stream_is_the_text(local: LocalModel, remote: RemoteModel) -> None:
    for parameters in (GREEDY, replace(GREEDY, temperature=1.5, seed=3), replace(GREEDY, stop=("e", "re"))):
        events = list(remote.stream("the review is", parameters))
        completion = local.generate(["the review is"], parameters)[0].completions[0]
        assert "".join(event.text for event in events) == completion.text
        assert [event.token.id for event in events if event.token] == [token.id for token in completion.tokens]
        assert [event.generation is not None for event in events] == [False] * (len(events) - 1) + [True]


def test_a_stream_that_is_closed_is_aborted_there(local: LocalModel, remote: RemoteModel) -> None:
    stream = remote.stream("the review is", replace(GREEDY, max_new_tokens=500, ignore_eos=True))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    for _ in range(3000):  # the server notices that the connection is gone
        if local.stats().num_running == 0:
            break
        time.sleep(0.01)
    assert local.stats().num_running == 0
    assert remote.generate(["the"], GREEDY)


def test_a_pinned_prefix_is_found_by_the_first_query(local: LocalModel, remote: RemoteModel) -> None:
    prefix = "a prefix that no other test has: the review is positive and the review is negative; "
    remote.pin(prefix)
    answer = remote.generate([prefix + "a good film"], GREEDY)[0]
    assert answer.num_cached_tokens >= local.count_tokens(prefix) - 1
    remote.unpin(prefix)


def test_long_lists_are_sent_in_parts_and_answered_in_order(
    local: LocalModel, remote: RemoteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_calls, "MAX_CHARACTERS_A_CALL", 40)
    texts = [f"the review is {i}" for i in range(9)]
    assert np.abs(remote.embed(texts) - local.embed(texts)).max() < 1e-4
    alone = [remote.score([text], LABELS)[0].logprobs for text in texts]
    assert [s.logprobs for s in remote.score(texts, LABELS)] == [pytest.approx(one, abs=1e-4) for one in alone]


def test_a_servers_own_limit_on_a_request_is_kept(local: LocalModel) -> None:
    with live({"tiny": local}, limits=Limits(max_completions=2)) as url, connect(url) as few:
        assert len(few.generate(PROMPTS, replace(GREEDY, max_new_tokens=1))) == 3


def test_more_than_a_servers_queue_holds_is_sent_in_halves(local: LocalModel) -> None:
    few = Settings(precision="float32", kv_memory_mb=16, max_running_requests=1, max_queued_requests=2)
    model = load(str(checkpoint("llama")), configuration=few)
    texts = [f"the review is {i}" for i in range(6)]
    with (
        live({"tiny": model}) as url,
        connect(url, retries=1) as there,
    ):  # what was refused leaves the queue a step later
        assert np.abs(there.embed(texts) - local.embed(texts)).max() < 1e-4
    model.close()


def test_nothing_asked_is_nothing_answered(remote: RemoteModel) -> None:
    assert remote.embed([]).shape == (0, remote.info.hidden_size)
    assert remote.score([], LABELS) == []
    assert remote.generate([], GREEDY) == []


@pytest.mark.parametrize("prompt", ["", "\ud800"])
def test_a_prompt_that_is_no_text_is_refused(local: LocalModel, remote: RemoteModel, prompt: str) -> None:
    for model in (local, remote):
        with pytest.raises(InvalidInputError):
            model.generate(["the review", prompt], GREEDY)


def test_one_text_is_no_list_of_its_characters(local: LocalModel, remote: RemoteModel) -> None:
    for model in (local, remote):
        mistakes = (
            partial(model.generate, "the review", GREEDY),
            partial(model.embed, "the review"),
            partial(model.score, "the review", [" a"]),
            partial(model.score, ["the review"], " a"),
        )
        for ask in mistakes:
            with pytest.raises(InvalidInputError, match=r"must be a list of texts\. For a single one, write \[text\]"):
                ask()


@pytest.mark.parametrize("labels", [[], ["", " a"]])
def test_an_empty_continuation_is_refused(local: LocalModel, remote: RemoteModel, labels: list[str]) -> None:
    for model in (local, remote):
        with pytest.raises(InvalidInputError):
            model.score(["the review is"], labels)


def test_a_prompt_over_the_context_says_both_counts(local: LocalModel, remote: RemoteModel) -> None:
    for model in (local, remote):
        with pytest.raises(PromptTooLongError, match=r"\d+ tokens and 12 new tokens .* holds 640"):
            model.generate(["the review is " * 400], GREEDY)


def test_a_parameter_that_cannot_be_honoured_is_named(remote: RemoteModel) -> None:
    with pytest.raises(InvalidParameterError, match="logit_bias"):
        remote.generate(["the"], replace(GREEDY, logit_bias=((10_000, 1.0),)))
    with pytest.raises(InvalidParameterError, match="`n` must be 1"):
        remote.stream("the", replace(GREEDY, temperature=1.0, n=2))


def test_a_task_predicts_the_same_there(local: LocalModel, remote: RemoteModel) -> None:
    task = handful.Task(
        name="mood",
        labels=("positive", "negative"),
        examples=(handful.Example({"input": "good"}, "positive"), handful.Example({"input": "bad"}, "negative")),
    )
    here, there = task.predict(local, PROMPTS), task.predict(remote, PROMPTS)
    assert [p.prediction for p in here] == [p.prediction for p in there]
    for one, other in zip(here, there, strict=True):
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-4)


def test_a_classifier_learns_the_same_there(local: LocalModel, remote: RemoteModel) -> None:
    texts = [f"the {word} film {i}" for i in range(8) for word in ("good", "bad")]
    labels = ["positive", "negative"] * 8
    fitted = [handful.FewShotClassifier(model).fit(texts, labels) for model in (local, remote)]
    here, there = (each.predict_proba(PROMPTS) for each in fitted)
    assert fitted[0].choice_.recipe == fitted[1].choice_.recipe
    assert np.abs(here - there).max() < 1e-3


def test_without_a_model_it_is_the_one_served_first(url: str) -> None:
    with connect(url) as first:
        assert first.info.name == "tiny"
    with connect(url, model="org/tiny") as second:
        assert second.generate(["the"], GREEDY)


def test_a_client_has_the_same_models(url: str, remote: RemoteModel) -> None:
    with Client(url) as client:
        backend = client.backend("tiny")
        assert backend.generate(["the"], GREEDY)[0].completions == remote.generate(["the"], GREEDY)[0].completions
        backend.close()  # the connections are the client's
        assert client.health()["status"] == "ok"


@pytest.mark.parametrize(
    ("path", "model", "error"),
    [
        ("/models/nope", None, NotFoundError),
        ("", "nope", NotFoundError),
        ("/models/tiny", "org/tiny", InvalidParameterError),
        ("/models/..%2f", None, HandfulError),
        ("/nothing", "tiny", NotFoundError),
    ],
)
def test_a_model_that_is_not_there_is_told_at_once(
    url: str, path: str, model: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        connect(url + path, model=model)


def test_without_a_server_connecting_says_so() -> None:
    with pytest.raises(RemoteError, match="No server answers"):
        connect("http://127.0.0.1:9", retries=0)


def test_a_server_that_accepts_and_never_answers_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "INFO_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RequestTimeoutError) as raised:
            connect(there)
    assert str(raised.value).startswith(f"{there} accepts connections and doesn't answer: nothing came within 0.2 sec")


def test_a_connection_that_takes_too_long_is_tried_once() -> None:
    tried = []

    def handler(request: httpx.Request) -> httpx.Response:
        tried.append(request)
        raise httpx.ConnectTimeout("x")

    with pytest.raises(RemoteError, match="No server answers"):
        connect("http://server", transport=httpx.MockTransport(handler))
    assert len(tried) == 1


def test_only_the_question_what_a_model_is_must_be_answered_soon(remote: RemoteModel, url: str) -> None:
    waited = []

    def handler(request: httpx.Request) -> httpx.Response:
        waited.append(request.extensions["timeout"]["read"])
        return httpx.get(f"{url}{request.url.path}") if request.method == "GET" else httpx.Response(200, json=[7])

    with connect("http://server/models/tiny", transport=httpx.MockTransport(handler)) as there:
        assert there.info == replace(remote.info, source="http://server")
        assert there.count_tokens("a") == 7
    assert waited == [10.0, 600.0]


@pytest.mark.parametrize("path", ["/tasks/mood", "/nothing", "/v1/completions"])
def test_a_url_that_is_no_models_is_told_with_one_that_would_be(url: str, path: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        connect(url + path)
    assert str(raised.value) == f"{url}{path} is not the URL of a model. A model's is such as {url}/models/default"


def test_every_parameter_has_its_place_on_the_wire() -> None:
    assert list(BackendParameters.model_fields) == [field.name for field in fields(GenerationParameters)]
    assert BackendParameters().generation_parameters() == GenerationParameters()


def test_from_an_event_loop_it_is_the_same(local: LocalModel, url: str) -> None:
    async def check() -> None:
        async with AsyncClient(url) as client:
            there: AsyncBackend = await client.backend("org/tiny")
            here = local.asynchronous()
            ids = tuple(local.tokenizer.encode("the review is"))
            for prompt in ("the review is", ids):
                one, other = [await each.generate(prompt, GREEDY) for each in (here, there)]
                assert one.completions == other.completions
                assert np.abs(await here.embed(prompt) - await there.embed(prompt)).max() < 1e-4
            score = await there.score("the review is", LABELS)
            assert score.logprobs == pytest.approx((await here.score("the review is", LABELS)).logprobs, abs=1e-4)
            assert await there.count_tokens("a good film") == await here.count_tokens("a good film")
            assert await there.tokenize("a good film") == await here.tokenize("a good film")
            pieces = [event.text async for event in there.stream("the review is", GREEDY)]
            assert "".join(pieces) == local.generate(["the review is"], GREEDY)[0].completions[0].text
            await there.pin("a prefix")
            await there.unpin("a prefix")
            assert (there.info.name, there.chat_template) == ("org/tiny", None)

    asyncio.run(check())
