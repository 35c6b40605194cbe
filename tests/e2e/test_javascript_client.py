"""@huggingface/inference, the JavaScript client, on the Node.js of `make clients`, `endpointUrl` set to a server."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Server, serving
from tests.unit.pipelines.tiny_nlp import checkpoint

SOURCE = Path(__file__).parent / "javascript"
CLIENTS = Path(__file__).parents[2] / ".clients"
NODE = CLIENTS / "nodejs" / "bin" / "node"
MODELS = {
    "classifier": "bert-classifier",
    "nli": "bert-nli",
    "entities": "bert-entities",
    "answers": "bert-answers",
    "mask": "bert-mask",
    "summary": "bart-summary",
    "t5": "t5",
    "tables": "tapas",
}
TEXT = "my name is clara and i live in berkeley."
PROMPT = "English: cheese\nFrench: fromage\n###\nEnglish: bread\nFrench: pain\n###\nEnglish: milk\nFrench:"
CHAT = {"messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside the packages that the lock names, which npm has checked against its hashes."""
    assert NODE.exists(), "The environment of the clients is missing: make clients"
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "node_modules").symlink_to(CLIENTS / "javascript" / "node_modules")
    return Path(shutil.copy(SOURCE / "ask.mjs", folder))


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    """The default models, and a tiny one for each task beyond them."""
    models = ["default", "default-embeddings", *(f"{name}={checkpoint(folder)}" for name, folder in MODELS.items())]
    with serving("--precision=float32", *(f"--model={model}" for model in models)) as running:
        yield running


def answers(script: Path, *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What the client made of each call, in one Node.js process."""
    done = subprocess.run(
        [NODE, script], input=json.dumps(calls), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def values(script: Path, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """The same, where no call may fail."""
    made = answers(script, *calls)
    assert [(call[0], each) for call, each in zip(calls, made, strict=True) if "error" in each] == []
    return [each["value"] for each in made]


@pytest.mark.parametrize("path", ["", "/models/default"])
def test_it_generates_text_whole_and_streamed(script: Path, served: Server, path: str) -> None:
    parameters = {"max_new_tokens": 6, "do_sample": False}
    asked = {"endpointUrl": served.url + path, "inputs": PROMPT, "parameters": parameters}
    whole, parts = values(script, ("textGeneration", asked), ("textGenerationStream", asked))
    own = httpx.post(f"{served.url}/generate", json={"inputs": PROMPT, "parameters": parameters}, timeout=60).json()
    assert whole["generated_text"] == own["generated_text"]
    assert "".join(part["choices"][0]["text"] for part in parts) == own["generated_text"]


@pytest.mark.parametrize("path", ["", "/v1", "/models/default"])
def test_it_chats_whole_and_streamed(script: Path, served: Server, path: str) -> None:
    asked = CHAT | {"endpointUrl": served.url + path, "model": "default"}
    whole, chunks = values(script, ("chatCompletion", asked), ("chatCompletionStream", asked))
    text = whole["choices"][0]["message"]["content"]
    assert text
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]) == text
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_it_compares_texts_by_the_default_encoder(script: Path, served: Server) -> None:
    endpoint = {"endpointUrl": f"{served.url}/models/default-embeddings"}
    others = ["That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    inputs = {"source_sentence": "That is a happy person", "sentences": others}
    vector, scores = values(
        script,
        ("featureExtraction", endpoint | {"inputs": "A happy person"}),
        ("sentenceSimilarity", endpoint | {"inputs": inputs}),
    )
    assert len(vector) == 384
    assert sum(each * each for each in vector) == pytest.approx(1, abs=1e-4)
    assert [round(score, 3) for score in scores] == [0.695, 0.943, 0.257]  # as the hosted API answered


def test_it_classifies_without_examples(script: Path, served: Server) -> None:
    labels = {"candidate_labels": ["sports", "business", "politics"]}
    text = "The striker scored twice in the final."
    by_language, by_inference = values(
        script,
        *(
            ("zeroShotClassification", {"endpointUrl": served.url + path, "inputs": text, "parameters": labels})
            for path in ("/models/default/pipeline/zero-shot-classification", "/models/nli")
        ),
    )
    assert by_language[0]["label"] == "sports"
    for made in (by_language, by_inference):
        assert {each["label"] for each in made} == set(labels["candidate_labels"])
        assert sum(each["score"] for each in made) == pytest.approx(1)


def test_it_reads_every_other_task(script: Path, served: Server) -> None:
    def call(method: str, path: str, inputs: Any, **parameters: str) -> tuple[str, dict[str, Any]]:
        return method, {"endpointUrl": f"{served.url}/models/{path}", "inputs": inputs, "parameters": parameters}

    table = {"name": ["clara", "my"], "where": ["berkeley", "the"]}
    classes, entities, answer, masks, summary, translation, cells = values(
        script,
        call("textClassification", "classifier", TEXT),
        call("tokenClassification", "entities", TEXT),
        call("questionAnswering", "answers", {"question": "where do i live?", "context": TEXT}),
        call("fillMask", "mask", "my name is [MASK]."),
        call("summarization", "summary", TEXT),
        call("translation", "t5/pipeline/translation", "my name is clara", src_lang="en", tgt_lang="de"),
        call("tableQuestionAnswering", "tables", {"query": "where do i live?", "table": table}),
    )
    assert {each["label"] for each in classes} == {"NEGATIVE", "POSITIVE"}
    assert all(0 <= each["start"] < each["end"] <= len(TEXT) for each in entities)
    assert answer["answer"] == TEXT[answer["start"] : answer["end"]]
    assert len(masks) == 5
    assert isinstance(summary["summary_text"], str)
    assert isinstance(translation["translation_text"], str)
    assert all(table[list(table)[column]][row] in cells["cells"] for row, column in cells["coordinates"])


def test_a_refusal_reaches_its_caller_as_an_error_with_the_status(script: Path, served: Server) -> None:
    [failed] = answers(script, ("fillMask", {"endpointUrl": f"{served.url}/models/nothing", "inputs": "[MASK]"}))
    assert failed["status"] == 404
    assert "Model nothing does not exist." in failed["error"]
