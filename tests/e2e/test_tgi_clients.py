"""TGI's routes of a real server: huggingface_hub at the root URL, and the wire format of text-generation 0.7.0."""

import json
from typing import Any

import httpx
import pytest
from huggingface_hub import InferenceClient

from tests.e2e.conftest import Server

PROMPT = "English: cheese\nFrench: fromage\n###\nEnglish: bread\nFrench: pain\n###\nEnglish: milk\nFrench:"
# Every parameter, null where it is unset: so the `text-generation` package writes its requests.
PARAMETERS: dict[str, Any] = {
    "do_sample": False,
    "max_new_tokens": 12,
    "repetition_penalty": None,
    "frequency_penalty": None,
    "return_full_text": False,
    "stop": ["###"],
    "seed": None,
    "temperature": None,
    "top_k": None,
    "top_p": None,
    "truncate": None,
    "typical_p": None,
    "best_of": None,
    "watermark": False,
    "details": True,
    "decoder_input_details": False,
    "top_n_tokens": None,
    "grammar": None,
}


def post(server: Server, path: str, stream: bool = False, **parameters: Any) -> httpx.Response:
    body = {"inputs": PROMPT, "parameters": PARAMETERS | parameters, "stream": stream}
    return httpx.post(server.url + path, json=body, timeout=60)


@pytest.mark.parametrize("path", ["/", "/v1", "/models/default"])
def test_the_python_client_of_tgi_is_understood(server: Server, path: str) -> None:
    made = post(server, path, decoder_input_details=True, top_n_tokens=2).json()[0]
    details = made["details"]
    assert details["finish_reason"] in ("length", "eos_token", "stop_sequence")
    assert details["generated_tokens"] == len(details["tokens"]) == len(details["top_tokens"])
    assert details["prefill"][0]["logprob"] is None
    assert all(token["logprob"] < 0 for token in details["prefill"][1:])
    for token, best in zip(details["tokens"], details["top_tokens"], strict=True):
        assert (token["id"], token["logprob"]) == (best[0]["id"], best[0]["logprob"])
    assert made["generated_text"].endswith("###")


@pytest.mark.parametrize("path", ["/", "/v1"])
def test_its_stream_is_understood(server: Server, path: str) -> None:
    whole = post(server, path).json()[0]
    events = [
        json.loads(line.removeprefix("data:"))
        for line in post(server, path, stream=True).text.split("\n")
        if line.startswith("data:")
    ]
    assert all({"token", "generated_text", "details"} <= event.keys() for event in events)
    assert (
        "".join(event["token"]["text"] for event in events if not event["token"]["special"])
        == events[-1]["generated_text"]
    )
    assert events[-1]["generated_text"] == whole["generated_text"]
    assert events[-1]["details"]["finish_reason"] == "stop_sequence"


def test_generate_answers_with_an_object_without_the_prompt(server: Server) -> None:
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 3}}
    made = httpx.post(f"{server.url}/generate", json=body, timeout=60).json()
    assert list(made) == ["generated_text"]
    assert PROMPT not in made["generated_text"]
    streamed = httpx.post(f"{server.url}/generate_stream", json=body, timeout=60).text
    last = json.loads(streamed.strip().split("\n")[-1].removeprefix("data:"))
    assert last["generated_text"] == made["generated_text"]


@pytest.mark.parametrize("path", ["", "/v1"])
def test_the_hubs_client_generates_at_the_root(server: Server, path: str) -> None:
    hub = InferenceClient(server.url + path)
    whole = hub.text_generation(PROMPT, max_new_tokens=12, stop=["###"], return_full_text=False)
    assert whole.endswith("###")
    assert "".join(hub.text_generation(PROMPT, max_new_tokens=12, stop=["###"], stream=True)) == whole


@pytest.mark.parametrize("path", ["", "/models/default"])
def test_the_hubs_client_asks_what_is_served(server: Server, path: str) -> None:
    hub = InferenceClient(server.url + path, provider="hf-inference")
    info = hub.get_endpoint_info()
    assert (info["model_id"], info["model_pipeline_tag"]) == ("default", "text-generation")
    assert info["max_total_tokens"] == info["max_input_tokens"] + 1
    assert hub.health_check()


def test_max_time_ends_a_text_for_its_length(server: Server) -> None:
    made = post(server, "/", max_new_tokens=4000, max_time=0.2, stop=[]).json()[0]
    assert made["details"]["finish_reason"] in ("length", "eos_token")
    assert made["details"]["generated_tokens"] < 4000


@pytest.mark.parametrize(
    ("parameters", "says"),
    [({"temperature": -1}, "temperature"), ({"max_new_tokens": 100_000}, "100000"), ({"foo": 1}, "foo")],
)
def test_what_is_wrong_is_422_with_one_sentence(server: Server, parameters: dict[str, Any], says: str) -> None:
    answered = post(server, "/generate", **parameters)
    assert answered.status_code == 422
    assert says in answered.json()["error"]
    assert answered.json()["error_type"] == "validation"


def test_a_text_is_tokenized_with_its_places(server: Server) -> None:
    spans = httpx.post(f"{server.url}/tokenize", json={"inputs": "Bread, and  milk 🙂"}).json()
    assert "".join(span["text"] for span in spans if span["stop"] > span["start"]).startswith("Bread, and  milk")
    assert all("Bread, and  milk 🙂"[span["start"] : span["stop"]] == span["text"] for span in spans)


def test_the_figures_count_what_was_done(server: Server) -> None:
    def figure(name: str) -> float:
        lines = httpx.get(f"{server.url}/metrics").text.split("\n")
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    names = ("handful_generated_tokens_total", 'handful_requests_total{method="POST",route="/generate",status="200"}')
    before = [figure(name) for name in names]
    post(server, "/generate", max_new_tokens=5, stop=[])
    assert [figure(name) for name in names] == [before[0] + 5, before[1] + 1]
    assert figure("vllm:num_requests_waiting") == 0
    assert 0 <= figure("vllm:gpu_cache_usage_perc") < 1
