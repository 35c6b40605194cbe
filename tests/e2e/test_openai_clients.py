"""openai-python, huggingface_hub and huggingface.js' shapes on OpenAI's surface of a real server."""

import base64
import json
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient

from handful.local import LocalModel
from tests.e2e.conftest import Server

PROMPT = "English: cheese\nFrench: fromage\n###\nEnglish: bread\nFrench: pain\n###\nEnglish: milk\nFrench:"
CHAT: Any = [{"role": "user", "content": "Name a colour."}]


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


def test_a_completion_ends_before_its_end_sequence(client: openai.OpenAI) -> None:
    made = client.completions.create(model="default", prompt=PROMPT, max_tokens=25, temperature=0, stop="###")
    choice = made.choices[0]
    assert choice.text
    assert "###" not in choice.text
    assert choice.finish_reason == "stop"
    assert made.usage is not None
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens


def test_a_streamed_completion_joins_to_the_whole_one(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "default", "prompt": PROMPT, "max_tokens": 25, "temperature": 0, "stop": ["###"]}
    whole = client.completions.create(**asked)
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_a_guided_choice_is_what_comes_back_whole_streamed_and_in_a_chat(client: openai.OpenAI) -> None:
    words = [" lait", " eau", " lait frais"]
    asked: dict[str, Any] = {"model": "default", "max_tokens": 25, "temperature": 0}
    guided = {"guided_choice": words}
    choice = client.completions.create(prompt=PROMPT, **asked, extra_body=guided).choices[0]
    assert (choice.text in words, choice.finish_reason) == (True, "stop")
    chunks = client.completions.create(prompt=PROMPT, **asked, extra_body=guided, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == choice.text
    chat = client.chat.completions.create(messages=CHAT, **asked, extra_body={"guided_choice": ["Red", "Green"]})
    assert chat.choices[0].message.content in ("Red", "Green")


def test_token_ids_continue_as_their_text_does(server: Server, client: openai.OpenAI) -> None:
    spans = httpx.post(f"{server.url}/tokenize", json={"inputs": PROMPT}).json()
    ids = [span["id"] for span in spans]
    asked: dict[str, Any] = {"model": "default", "max_tokens": 8, "temperature": 0}
    by_text = client.completions.create(prompt=PROMPT, **asked).choices[0].text
    assert client.completions.create(prompt=ids, **asked).choices[0].text == by_text
    both = client.completions.create(prompt=[ids, ids[:5]], **asked)
    assert [choice.index for choice in both.choices] == [0, 1]
    assert both.choices[0].text == by_text


def test_several_texts_of_several_prompts_are_numbered_by_prompt(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "default", "prompt": ["Once", "Twice"], "n": 2, "seed": 3, "max_tokens": 5}
    whole = [choice.text for choice in client.completions.create(**asked).choices]
    assert len(set(whole)) == 4
    streamed = ["", "", "", ""]
    for chunk in client.completions.create(**asked, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == whole


def test_a_chat_is_answered_whole_and_streamed(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "default", "messages": CHAT, "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    assert whole.choices[0].message.role == "assistant"
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_chat_tells_log_probabilities(client: openai.OpenAI) -> None:
    made = client.chat.completions.create(
        model="default", messages=CHAT, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2
    )
    said = made.choices[0].logprobs
    assert said is not None
    assert said.content is not None
    assert [token.logprob for token in said.content] == [token.top_logprobs[0].logprob for token in said.content]


def test_embeddings_have_length_one_in_both_encodings(server: Server, client: openai.OpenAI) -> None:
    made = client.embeddings.create(model="default", input=["a joy", "a bore"])  # the client asks for base64
    vectors = [np.array(each.embedding) for each in made.data]
    assert [np.linalg.norm(vector) for vector in vectors] == pytest.approx([1, 1], abs=1e-5)
    bare = httpx.post(
        f"{server.url}/v1/embeddings", json={"model": "default", "input": "a joy", "encoding_format": "base64"}
    ).json()
    decoded = np.frombuffer(base64.b64decode(bare["data"][0]["embedding"]), "<f4")
    assert np.abs(decoded - vectors[0]).max() < 1e-4


def test_where_no_model_is_named_the_embedded_encoder_makes_the_vectors(server: Server) -> None:
    headers = {"x-wait-for-model": "1"}
    made = httpx.post(f"{server.url}/v1/embeddings", json={"input": "a joy"}, headers=headers, timeout=120).json()
    assert (made["model"], len(made["data"][0]["embedding"])) == ("default-embeddings", 384)


def test_models_are_listed_and_shown(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["default", "default-embeddings"]
    assert client.models.retrieve("default").id == "default"


@pytest.mark.parametrize(
    ("asked", "kind", "param"),
    [
        ({"model": "nope"}, openai.NotFoundError, None),
        ({"model": "default", "suffix": "x"}, openai.BadRequestError, "suffix"),
        ({"model": "default", "temperature": 101}, openai.BadRequestError, "temperature"),
        ({"model": "default", "extra_body": {"foo": 1}}, openai.BadRequestError, "foo"),
        ({"model": "default", "max_tokens": 100_000}, openai.BadRequestError, None),
        ({"model": "default", "prompt": [999_999]}, openai.BadRequestError, None),
    ],
)
def test_what_is_wrong_raises_the_clients_own_error(
    client: openai.OpenAI, asked: dict[str, Any], kind: type[openai.APIStatusError], param: str | None
) -> None:
    with pytest.raises(kind) as caught:
        client.completions.create(**({"prompt": "a"} | asked))
    assert caught.value.body is not None
    assert caught.value.param == param
    assert len(str(caught.value.body["message"])) > 10  # type: ignore[index]


def test_below_a_models_path_the_same_is_served(server: Server) -> None:
    client = openai.OpenAI(base_url=f"{server.model_url}/v1", api_key="unused", max_retries=0)
    assert client.completions.create(model="default", prompt="a", max_tokens=1).model == "default"
    assert [model.id for model in client.models.list()] == ["default"]


@pytest.mark.parametrize("path", ["/v1", "/models/default", "/models/default/v1"])
def test_the_hubs_client_chats(server: Server, path: str) -> None:
    hub = InferenceClient(server.url + path)
    made = hub.chat_completion(CHAT, max_tokens=5, temperature=0)
    assert made.choices[0].message.content
    chunks = list(hub.chat_completion(CHAT, max_tokens=5, temperature=0, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == made.choices[0].message.content


def test_the_harness_exchange_gives_the_models_own_scores(client: openai.OpenAI, default_model: LocalModel) -> None:
    """lm-evaluation-harness' `local-completions`: token ids, their echo, one token that it drops."""
    context, continuations = "The capital of France is", [" Paris", " London"]
    split = [default_model.tokenizer.encode_continuation(context, each) for each in continuations]
    made = client.completions.create(
        model="default", prompt=[h + t for h, t in split], temperature=0, max_tokens=1, logprobs=1, seed=1234, echo=True
    )
    found = []
    for choice, (head, _) in zip(made.choices, split, strict=True):
        assert choice.logprobs is not None
        logprobs = choice.logprobs.token_logprobs or []
        best = choice.logprobs.top_logprobs or []
        places = range(len(head), len(logprobs) - 1)
        is_greedy = all(logprobs[i] == max(best[i].values()) for i in places)
        found.append((sum(logprobs[i] or 0.0 for i in places), is_greedy))
    scores = default_model.score([context], continuations)[0].logprobs
    assert [value for value, _ in found] == pytest.approx(scores, abs=1e-3)
    assert [is_greedy for _, is_greedy in found] == [True, False]


@pytest.mark.parametrize("path", ["", "/models/default"])
def test_huggingface_js_generates_text(server: Server, path: str) -> None:
    """What `textGeneration({endpointUrl, inputs, parameters})` sends, and what it reads of the answer."""
    endpoint = server.url + path
    parameters = {"return_full_text": True, "do_sample": False, "repetition_penalty": 1.1, "top_k": 5, "details": True}
    body = {"model": endpoint, "max_tokens": 6, **parameters, "prompt": "Once upon"}
    made = httpx.post(f"{endpoint}/v1/completions", json=body, timeout=60).json()
    assert made["choices"][0]["text"].startswith("Once upon")
    assert made["choices"][0]["details"]["generated_tokens"] == 6
    del body["return_full_text"], body["details"]
    streamed = httpx.post(f"{endpoint}/v1/completions", json=body | {"stream": True}, timeout=60)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in streamed.text.split("\n") if line]
    assert lines[-1] == "data: [DONE]"
    text = "".join(json.loads(line.removeprefix("data: "))["choices"][0]["text"] for line in lines[:-1])
    assert "Once upon" + text == made["choices"][0]["text"]


def test_an_unsupported_parameter_of_the_inference_api_is_named(server: Server) -> None:
    body = {"prompt": "a", "truncate": 5}
    answered = httpx.post(f"{server.url}/v1/completions", json=body)
    assert answered.status_code == 400
    assert answered.json()["error"]["param"] == "truncate"
