"""Which model and which task a route means, and what an answer carries besides its body."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handful.errors import PromptTooLongError
from handful.nlp_types import NlpTask
from handful.protocol.nlp_tasks import EXAMPLES, REQUESTS
from handful.server.auth_state import Access
from handful.server.limits import Limits
from handful.server.response_cache import ResponseCache
from handful.store.database import Database
from handful.store.responses import CacheBounds
from handful.store.tasks import TaskStore
from tests.unit.server.nlp_serving import FakeNlp, ask_nlp, nlp_state
from tests.unit.server.serving import client_of, run
from tests.unit.server.with_access import bearer, opened, written

TEXT: dict[str, Any] = {"inputs": "one two three"}
LABELS = {"candidate_labels": ["a", "b"]}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


@pytest.mark.parametrize("task", sorted(REQUESTS))
def test_a_model_is_asked_for_its_task_by_every_route(task: NlpTask) -> None:
    paths = ["/models/nlp", f"/models/nlp/pipeline/{task}", f"/models/org/nlp/pipeline/{task}"]
    paths += [f"/pipeline/{task}/nlp", f"/pipeline/{task}/org/nlp", "/models/late"]
    answers = [ask_nlp(FakeNlp(task=task), path, EXAMPLES[task]) for path in paths]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.text for answer in answers} == {answers[0].text}


def test_the_route_chooses_among_the_tasks_that_a_model_can_do() -> None:
    model = FakeNlp(task="text-classification", tasks=frozenset({"text-classification", "zero-shot-classification"}))
    made = ask_nlp(model, "/pipeline/zero-shot-classification/nlp", TEXT | {"parameters": LABELS})
    assert made.json()["labels"] == ["a", "b"]
    refused = ask_nlp(model, "/pipeline/fill-mask/nlp", TEXT)
    assert refused.status_code == 400
    said = "Model nlp can't do fill-mask: it does text-classification, zero-shot-classification."
    assert refused.json()["error"][0].startswith(said)


def test_a_model_of_sentence_vectors_is_asked_for_either_task_by_the_form_of_its_inputs() -> None:
    model = FakeNlp(task="sentence-similarity", tasks=frozenset({"sentence-similarity", "feature-extraction"}))
    pair = EXAMPLES["sentence-similarity"]
    assert ask_nlp(model, "/models/nlp", pair).json() == [0.5, 0.5]
    assert ask_nlp(model, "/models/nlp", pair["inputs"]).json() == [0.5, 0.5]
    for texts in (TEXT, "a text", b"a text"):
        assert ask_nlp(model, "/models/nlp", texts).json() == [3.0, 4.0]


def test_text_generation_has_its_routes_too() -> None:
    for path in ("/models/fake", "/models/fake/pipeline/text-generation", "/pipeline/text-generation/fake"):
        made = ask_nlp(FakeNlp(), path, TEXT | {"parameters": {"max_new_tokens": 2}})
        assert made.json() == [{"generated_text": "one two three w1 w2"}]
    refused = ask_nlp(FakeNlp(), "/pipeline/text-generation/nlp", TEXT)
    assert refused.status_code == 400
    assert "it is for text-classification" in refused.json()["error"][0]


@pytest.mark.parametrize("path", ["/models/none", "/pipeline/fill-mask/none", "/models/a/none/pipeline/fill-mask"])
def test_a_model_that_is_not_served_is_404(path: str) -> None:
    refused = ask_nlp(FakeNlp(), path, b"{broken")
    assert refused.status_code == 404
    assert "does not exist" in refused.json()["error"][0]


def test_a_task_there_is_not_is_told_with_those_there_are() -> None:
    refused = ask_nlp(FakeNlp(), "/pipeline/juggling/nlp", TEXT)
    assert refused.status_code == 400
    assert "'juggling' is no task. Tasks are text-generation, feature-extraction" in refused.json()["error"][0]


def test_the_content_type_does_not_matter() -> None:
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "nonsense"):
        made = ask_nlp(FakeNlp(), "/models/nlp", json.dumps(TEXT).encode(), headers={"content-type": kind})
        assert made.json()[0][0]["label"] == "one two three"


def test_the_headers_say_what_it_took() -> None:
    made = ask_nlp(FakeNlp(), "/models/nlp", {"inputs": ["one", "three"]})
    assert made.headers["x-compute-type"] == "cpu"
    assert made.headers["x-compute-characters"] == "8"
    assert made.headers["x-sha"] == "abc123"
    assert float(made.headers["x-compute-time"]) >= 0


def test_the_body_may_repeat_the_model_and_name_no_other() -> None:
    assert ask_nlp(FakeNlp(), "/models/nlp", TEXT | {"model": "nlp"}).status_code == 200
    refused = ask_nlp(FakeNlp(), "/models/nlp", TEXT | {"model": "other"})
    assert refused.status_code == 400
    assert "`model` is not the model of this route" in refused.json()["error"][0]


def test_a_gpu_that_is_not_there_is_refused() -> None:
    refused = ask_nlp(FakeNlp(), "/models/nlp", TEXT | {"options": {"use_gpu": True}})
    assert (refused.status_code, refused.json()["parameter"]) == (400, "use_gpu")


def test_too_many_and_too_long_inputs_are_refused() -> None:
    limits = Limits(max_completions=3, max_input_characters=20)
    many = ask_nlp(FakeNlp(), "/models/nlp", {"inputs": ["a"] * 4}, limits=limits)
    labels = {"candidate_labels": ["a", "b"]}
    pairs = {"inputs": ["a", "b"], "parameters": labels}
    product = ask_nlp(FakeNlp(task="zero-shot-classification"), "/models/nlp", pairs, limits=limits)
    long = ask_nlp(FakeNlp(), "/models/nlp", {"inputs": "a" * 21}, limits=limits)
    assert [each.status_code for each in (many, product, long)] == [400, 400, 400]


def test_a_text_that_is_too_long_for_the_model_is_422() -> None:
    refused = ask_nlp(FakeNlp(error=PromptTooLongError("600 tokens are more than 512.")), "/models/nlp", TEXT)
    assert (refused.status_code, refused.json()["error_type"]) == (422, "prompt_too_long")


def test_a_bug_in_a_model_is_500_without_its_message() -> None:
    failed = ask_nlp(FakeNlp(error=ZeroDivisionError("one two three")), "/models/nlp", TEXT)
    assert failed.status_code == 500
    assert "one two three" not in failed.text


def test_an_answer_is_kept_and_given_again_unless_refused() -> None:
    async def check() -> None:
        model = FakeNlp()
        state = nlp_state(model, responses=ResponseCache(CacheBounds(1 << 20, 10)))
        async with client_of(state, wait=False) as client:
            for _ in range(2):
                answer = await client.post("/models/nlp", json=TEXT, headers={"x-wait-for-model": "1"})
            assert answer.headers["x-compute-type"] == "cache"
            fresh = await client.post("/models/nlp", json=TEXT | {"options": {"use_cache": False}})
            assert fresh.headers["x-compute-type"] == "cpu"
            assert fresh.json() == answer.json()
            assert model.batches == [1, 1]
            body = TEXT | {"parameters": LABELS}
            path = "/pipeline/zero-shot-classification/nlp"
            shapes = [
                (await client.post(path, json=body, headers={"x-zero-shot-shape": shape})).json()
                for shape in ("dict", "list", "dict", "list")
            ]
            assert [type(shape) for shape in shapes] == [dict, list, dict, list]

    run(check())


def test_what_chance_has_a_part_in_is_not_kept() -> None:
    async def check() -> None:
        model = FakeNlp(task="summarization")
        state = nlp_state(model, responses=ResponseCache(CacheBounds(1 << 20, 10)))
        async with client_of(state, wait=False) as client:
            for parameters in ({"do_sample": True}, {"do_sample": False}):
                for _ in range(2):
                    body = TEXT | {"parameters": parameters}
                    await client.post("/models/nlp", json=body, headers={"x-wait-for-model": "1"})
            assert len(model.batches) == 3

    run(check())


def test_without_a_token_nothing_is_answered_where_one_is_asked_for(database: Database) -> None:
    paths = ("/models/nlp", "/models/nlp/pipeline/fill-mask", "/pipeline/fill-mask/org/nlp")

    async def check() -> None:
        access = Access.over(database, tokens_required=True)
        async with client_of(nlp_state(FakeNlp(), access=access), wait=False) as client:
            assert {(await client.post(path, json=TEXT)).status_code for path in paths} == {401}
            assert (await client.get("/framework/transformers")).status_code == 401

    run(check())


def test_usage_counts_the_texts_and_their_tokens(database: Database) -> None:
    access = Access.over(database, tokens_required=True)
    headers = bearer(database, scopes=("predict",)) | {"x-wait-for-model": "1"}

    async def check() -> None:
        async with client_of(nlp_state(FakeNlp(task="summarization"), access=access), wait=False) as client:
            for path in ("/models/nlp", "/pipeline/question-answering/nlp"):
                body = TEXT if path == "/models/nlp" else {"question": "who is it", "context": "it is me"}
                assert (await client.post(path, json=body, headers=headers)).status_code == 200

    run(check())
    usage = written(database)["nlp"]
    assert (usage.requests, usage.input_characters) == (2, 13 + 17)
    assert (usage.prompt_tokens, usage.generated_tokens) == (3 + 6, 4)
    assert usage.compute_us > 0


def test_requests_that_come_together_are_computed_together() -> None:
    async def check() -> None:
        model = FakeNlp()
        async with client_of(nlp_state(model, is_lazy=False), wait=False) as client:
            await client.post("/models/nlp", json=TEXT, headers={"x-wait-for-model": "1"})
            asked = [client.post("/models/nlp", json={"inputs": f"{i}"}) for i in range(6)]
            answers = await asyncio.gather(*asked)
            assert [answer.json()[0][0]["label"] for answer in answers] == [str(i) for i in range(6)]
            assert sum(model.batches) == 7

    run(check())


def test_a_bad_request_beside_good_ones_fails_alone() -> None:
    async def check() -> None:
        async with client_of(nlp_state(FakeNlp()), wait=False) as client:
            headers = {"x-wait-for-model": "1"}
            asked = [client.post("/models/nlp", json={"inputs": text}, headers=headers) for text in ("a", "bad", "b")]
            assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200, 400, 200]

    run(check())


def test_embeddings_of_openais_surface_come_from_a_model_of_vectors() -> None:
    model = FakeNlp(task="feature-extraction", tasks=frozenset({"feature-extraction"}))
    made = ask_nlp(model, "/v1/embeddings", {"model": "nlp", "input": ["one two", "three"]}).json()
    assert [each["embedding"] for each in made["data"]] == [pytest.approx([0.6, 0.8])] * 2
    assert made["usage"]["prompt_tokens"] == 3
    assert ask_nlp(model, "/models/nlp/v1/embeddings", {"input": "a", "dimensions": 2}).status_code == 200
    wrong = ask_nlp(model, "/v1/embeddings", {"model": "nlp", "input": "a", "dimensions": 3})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "dimensions")
    ids = ask_nlp(model, "/v1/embeddings", {"model": "nlp", "input": [1, 2]})
    assert ids.status_code == 400


def test_a_vector_for_each_token_is_averaged_for_openais_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([[1, 0], [0, 1]], dtype=np.float32)
    monkeypatch.setattr(FakeNlp, "feature_extraction", lambda self, texts, options: [rows for _ in texts])
    model = FakeNlp(task="feature-extraction")
    made = ask_nlp(model, "/v1/embeddings", {"model": "nlp", "input": "a"}).json()
    assert made["data"][0]["embedding"] == pytest.approx([0.5**0.5] * 2)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "a"}),
        ("/v1/completions", {"prompt": "a", "stream": True}),
        ("/generate", {"inputs": "a"}),
        ("/tokenize", {"inputs": "a"}),
        ("/v1/embeddings", {"input": "a"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}),
    ],
)
def test_surfaces_for_language_models_refuse_other_models(path: str, body: dict[str, Any]) -> None:
    model = FakeNlp(task="fill-mask", tasks=frozenset({"fill-mask"}))
    refused = ask_nlp(model, path, body | {"model": "nlp"})
    assert refused.status_code in (400, 422)
    assert "it does fill-mask" in refused.text or "no chat template" in refused.text


def test_a_model_says_what_it_is_for_and_has_no_limits_of_tokens() -> None:
    async def check() -> None:
        async with client_of(nlp_state(FakeNlp(task="fill-mask"), is_lazy=False)) as client:
            info = (await client.get("/models/nlp/info")).json()
            assert info["model_pipeline_tag"] == "fill-mask"
            assert "max_total_tokens" not in info
            (described,) = [m for m in (await client.get("/v1/models")).json()["data"] if m["id"] == "nlp"]
            assert "max_model_len" not in described
            assert (await client.get("/models/fake/info")).json()["max_total_tokens"] == 10_000

    run(check())


def test_models_are_listed_by_framework() -> None:
    async def check() -> None:
        model = FakeNlp(task="sentence-similarity", revision="")
        async with client_of(nlp_state(model, is_lazy=False)) as client:
            listed = {
                name: (await client.get(f"/framework/{name}")).json()
                for name in ("text-generation-inference", "sentence-transformers", "transformers", "flair")
            }
        (language,) = listed["text-generation-inference"]
        assert language == {"model_id": "fake", "task": "text-generation", "sha": "abc123", "compute_type": "cpu"}
        assert [each["model_id"] for each in listed["sentence-transformers"]] == ["nlp", "org/nlp", "late"]
        assert listed["transformers"] == listed["flair"] == []

    run(check())


MOOD: dict[str, Any] = {"name": "mood", "input": "Text: {text}", "output": "Mood: {output}", "labels": ["good", "bad"]}


def test_a_task_is_made_on_a_model_for_text_and_on_no_other(database: Database) -> None:
    async def check() -> None:
        access = Access.over(database, tokens_required=False)
        async with client_of(nlp_state(FakeNlp(), access=access), wait=False) as client:
            refused = await client.post("/tasks", json=MOOD | {"model": "nlp"})
            assert refused.status_code == 400
            assert "Model nlp can't run a task: it is for text-classification." in refused.json()["message"]

    run(check())


def test_a_task_whose_model_turns_out_to_be_for_another_is_refused_by_name(database: Database) -> None:
    body = json.dumps(MOOD | {"model": "late"})
    TaskStore(database).create("mood", body, owner=None, is_private=False)

    async def check() -> None:
        access = Access.over(database, tokens_required=False)
        async with client_of(nlp_state(FakeNlp(), access=access), wait=False) as client:
            late = await client.post("/tasks/mood", json={"inputs": "x"}, headers={"x-wait-for-model": "1"})
            assert late.status_code == 400
            assert "Model late can't run a task: it is for text-classification." in late.json()["message"]

    run(check())


def test_a_task_whose_model_is_not_to_be_loaded_does_not_load_it(database: Database) -> None:
    TaskStore(database).create("mood", json.dumps(MOOD | {"model": "nlp"}), owner=None, is_private=False)

    async def check() -> None:
        state = nlp_state(FakeNlp(), access=Access.over(database, tokens_required=False))
        async with client_of(state, wait=False) as client:
            body = {"inputs": "x", "options": {"dont_load_model": True}}
            assert (await client.post("/tasks/mood", json=body)).status_code == 503
            assert state.models.states()["nlp"] == "unloaded"

    run(check())


def test_end_sequences_among_the_options_are_for_text_alone() -> None:
    refused = ask_nlp(FakeNlp(), "/models/nlp", TEXT | {"options": {"end_sequence": "###"}})
    assert refused.status_code == 400
    assert "`options.end_sequence`" in refused.json()["message"]
