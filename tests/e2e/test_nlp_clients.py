"""The tasks beyond text generation, asked by real clients of a real server over tiny random models of each kind."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

from tests.e2e.conftest import Server, serving
from tests.unit.pipelines.tiny_nlp import checkpoint

MODELS = {
    "classifier": "bert-classifier",
    "nli": "bert-nli",
    "entities": "bert-entities",
    "answers": "bert-answers",
    "mask": "bert-mask",
    "encoder": "bert",
    "team/summary": "bart-summary",
    "t5": "t5",
    "tables": "tapas",
    "talk": "blenderbot",
}
TEXT = "my name is clara and i live in berkeley."
TABLE = {"name": ["clara", "my"], "where": ["berkeley", "the"]}


@pytest.fixture(scope="module")
def nlp() -> Iterator[Server]:
    """A server of one model of each kind, of the default models for language and for vectors."""
    models = ["default", "default-embeddings", *(f"{name}={checkpoint(folder)}" for name, folder in MODELS.items())]
    with serving("--precision=float32", *(f"--model={model}" for model in models)) as running:
        yield running


def client(server: Server, path: str) -> InferenceClient:
    """The client as people use it, with a URL for its model. The first request to a model waits for its loading."""
    return InferenceClient(model=server.url + path, timeout=120, headers={"x-wait-for-model": "1"})


def post(server: Server, path: str, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(server.url + path, json=body, headers={"x-wait-for-model": "1"} | headers, timeout=120)


def falling(scores: list[float]) -> bool:
    return all(0 <= score <= 1 for score in scores) and scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("path", ["/models/default-embeddings", "/pipeline/feature-extraction/default-embeddings"])
def test_vectors_of_the_default_encoder(nlp: Server, path: str) -> None:
    one = client(nlp, path).feature_extraction("A happy person")
    assert one.shape == (384,)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert post(nlp, path, ["A happy person", "A sad dog"]).json()[0] == pytest.approx(one.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    "path", ["/models/default-embeddings", "/models/default-embeddings/pipeline/sentence-similarity"]
)
def test_similarities_of_the_default_encoder(nlp: Server, path: str) -> None:
    others = ["That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    scores = client(nlp, path).sentence_similarity("That is a happy person", others)
    assert [round(score, 3) for score in scores] == [0.695, 0.943, 0.257]  # as the hosted API answered


def test_openais_embeddings_of_the_default_encoder(nlp: Server) -> None:
    asked = openai.OpenAI(base_url=f"{nlp.url}/v1", api_key="none", timeout=120)
    made = asked.embeddings.create(model="default-embeddings", input=["A happy person", "A sad dog"])
    assert [len(each.embedding) for each in made.data] == [384, 384]
    assert made.usage.prompt_tokens == 10
    vector = client(nlp, "/models/default-embeddings").feature_extraction("A sad dog")
    assert made.data[1].embedding == pytest.approx(vector.tolist(), abs=1e-5)


def test_vectors_of_a_plain_encoder_are_one_for_each_token(nlp: Server) -> None:
    made = client(nlp, "/models/encoder").feature_extraction("my name is clara")
    assert made.shape == (1, 6, 32)
    assert np.array(post(nlp, "/models/encoder", ["my", "name"]).json()).shape == (2, 1, 3, 32)


def test_vectors_of_a_language_model(nlp: Server) -> None:
    made = client(nlp, "/models/default/pipeline/feature-extraction").feature_extraction("A joy", normalize=True)
    assert made.shape == (576,)
    assert np.linalg.norm(made) == pytest.approx(1, abs=1e-5)
    alike = client(nlp, "/pipeline/sentence-similarity/default").sentence_similarity("A joy", ["A joy", "Rates rise."])
    assert alike[0] == pytest.approx(1, abs=1e-4)
    assert alike[1] < 0.9999


def test_text_classification(nlp: Server) -> None:
    made = client(nlp, "/models/classifier").text_classification(TEXT)
    assert {each.label for each in made} == {"NEGATIVE", "POSITIVE"}
    assert sum(each.score for each in made) == pytest.approx(1)
    assert len(client(nlp, "/models/classifier").text_classification(TEXT, top_k=1)) == 1


def test_zero_shot_classification_with_a_model_of_inference(nlp: Server) -> None:
    made = client(nlp, "/models/nli").zero_shot_classification(TEXT, ["name", "live", "answer"])
    assert falling([each.score for each in made])
    assert sum(each.score for each in made) == pytest.approx(1)
    alone = client(nlp, "/models/nli").zero_shot_classification(
        TEXT, ["name", "live"], multi_label=True, hypothesis_template="this is {}."
    )
    assert falling([each.score for each in alone])


def test_zero_shot_classification_with_the_default_model(nlp: Server) -> None:
    asked = client(nlp, "/models/default/pipeline/zero-shot-classification")
    labels = ["sports", "business", "politics"]
    for text, label in (
        ("The striker scored twice in the final.", "sports"),
        ("Shares of the company fell ten percent.", "business"),
        ("The parliament passed a new law on immigration.", "politics"),
    ):
        made = asked.zero_shot_classification(text, labels)
        assert made[0].label == label
        assert sum(each.score for each in made) == pytest.approx(1)
    alone = asked.zero_shot_classification("The striker scored twice in the final.", labels, multi_label=True)
    assert alone[0].label == "sports"
    assert alone[0].score > 0.5


def test_the_shape_of_zero_shot_answers_is_the_clients(nlp: Server) -> None:
    body = {"inputs": TEXT, "parameters": {"candidate_labels": ["name", "live"]}}
    plain = post(nlp, "/models/nli", body).json()
    assert set(plain) == {"sequence", "labels", "scores"}
    old = {"user-agent": "unknown/None; hf_hub/1.1.4; python/3.11.7"}
    assert post(nlp, "/models/nli", body, **old).json() == plain
    listed = [{"label": label, "score": score} for label, score in zip(plain["labels"], plain["scores"], strict=True)]
    assert post(nlp, "/models/nli", body, **{"x-zero-shot-shape": "list"}).json() == listed


def test_token_classification(nlp: Server) -> None:
    made = client(nlp, "/models/entities").token_classification(TEXT, aggregation_strategy="simple")
    for entity in made:
        assert entity.entity_group in ("PER", "LOC")
        assert 0 <= entity.start < entity.end <= len(TEXT)
    each = client(nlp, "/models/entities").token_classification(TEXT, aggregation_strategy="none", ignore_labels=[])
    assert len(each) >= len(TEXT.split())


def test_question_answering(nlp: Server) -> None:
    made: Any = client(nlp, "/models/answers").question_answering(question="where do i live?", context=TEXT)
    assert made.answer == TEXT[made.start : made.end] != ""
    several: Any = client(nlp, "/models/answers").question_answering(question="where?", context=TEXT, top_k=3)
    assert len(several) == 3
    without_inputs = {"question": "where do i live?", "context": TEXT}
    assert post(nlp, "/models/answers", without_inputs).json()["answer"] == made.answer


def test_table_question_answering(nlp: Server) -> None:
    made = client(nlp, "/models/tables").table_question_answering(TABLE, "where do i live?")
    assert all(TABLE[list(TABLE)[column]][row] in made.cells for row, column in made.coordinates)


def test_fill_mask(nlp: Server) -> None:
    made = client(nlp, "/models/mask").fill_mask("my name is [MASK].", top_k=3)
    assert falling([each.score for each in made])
    assert len(made) == 3
    with pytest.raises(BadRequestError, match="mask"):
        client(nlp, "/models/mask").fill_mask("my name is clara.")


def test_summarization_and_translation(nlp: Server) -> None:
    summary = client(nlp, "/models/team/summary").summarization(TEXT, generate_parameters={"max_length": 8})
    assert isinstance(summary.summary_text, str)
    translated = client(nlp, "/pipeline/translation/t5").translation("my name is clara", src_lang="en", tgt_lang="de")
    assert isinstance(translated.translation_text, str)
    assert list(post(nlp, "/models/t5", {"inputs": "my name"}).json()[0]) == ["generated_text"]


def test_a_conversation(nlp: Server) -> None:
    inputs = {"text": "and where?", "past_user_inputs": ["my name is clara"], "generated_responses": ["what?"]}
    made = post(nlp, "/models/talk", {"inputs": inputs, "parameters": {"max_new_tokens": 4}}).json()
    assert made["conversation"]["past_user_inputs"] == ["my name is clara", "and where?"]
    assert made["conversation"]["generated_responses"] == ["what?", made["generated_text"]]


def test_a_conversation_with_the_default_model(nlp: Server) -> None:
    inputs = {"text": "What is my name?", "past_user_inputs": ["My name is Clara."], "generated_responses": ["Hi!"]}
    body = {"inputs": inputs, "parameters": {"max_new_tokens": 12}}
    made = post(nlp, "/models/default/pipeline/conversational", body).json()
    assert "Clara" in made["generated_text"]
    assert made["conversation"]["generated_responses"] == ["Hi!", made["generated_text"]]
    refused = post(nlp, "/pipeline/conversational/default", body | {"parameters": {"max_length": 12}})
    assert (refused.status_code, refused.json()["parameter"]) == (400, "max_length")


def test_every_task_from_an_event_loop(nlp: Server) -> None:
    async def ask(path: str, task: str, *arguments: Any, **named: Any) -> Any:
        headers = {"x-wait-for-model": "1"}
        async with AsyncInferenceClient(model=nlp.url + path, timeout=120, headers=headers) as asked:
            return await getattr(asked, task)(*arguments, **named)

    async def ask_all() -> list[Any]:
        return await asyncio.gather(
            ask("/models/default-embeddings", "feature_extraction", "a"),
            ask("/models/default-embeddings", "sentence_similarity", "a", ["b", "c"]),
            ask("/models/classifier", "text_classification", TEXT),
            ask("/models/nli", "zero_shot_classification", TEXT, ["name", "live"]),
            ask("/models/entities", "token_classification", TEXT),
            ask("/models/answers", "question_answering", question="where?", context=TEXT),
            ask("/models/tables", "table_question_answering", TABLE, "where?"),
            ask("/models/mask", "fill_mask", "my name is [MASK]."),
            ask("/models/team/summary", "summarization", TEXT),
            ask("/pipeline/translation/t5", "translation", "my name is clara", src_lang="en", tgt_lang="fr"),
        )

    made = asyncio.run(ask_all())
    assert len(made) == 10
    assert all(each is not None for each in made)


def test_a_task_that_a_model_can_not_do_is_refused_by_name(nlp: Server) -> None:
    for path, can in (
        ("/models/default/pipeline/summarization", "text-generation"),
        ("/pipeline/fill-mask/classifier", "text-classification"),
        ("/pipeline/text-generation/mask", "fill-mask"),
    ):
        refused = post(nlp, path, {"inputs": "my [MASK]"})
        assert refused.status_code == 400
        assert can in refused.json()["error"][0]
    with pytest.raises(BadRequestError, match="language model"):
        client(nlp, "/models/default/pipeline/summarization").summarization(TEXT)
    with pytest.raises(HfHubHTTPError, match="404"):
        client(nlp, "/models/nothing").fill_mask("[MASK]")


def test_many_at_once_get_what_each_would_get_alone(nlp: Server) -> None:
    texts = [f"my name is {word} and i live in {word}" for word in ("clara", "berkeley", "the", "a", "what")] * 8
    alone = {text: post(nlp, "/models/classifier", {"inputs": text}).json()[0][0] for text in set(texts)}
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda text: post(nlp, "/models/classifier", {"inputs": text}).json()[0][0], texts))
    for text, made in zip(texts, together, strict=True):
        assert made["label"] == alone[text]["label"]
        assert made["score"] == pytest.approx(alone[text]["score"], abs=1e-5)


STRANGE = (
    "\u0000\u0007",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "[MASK] [SEP] [CLS] [PAD]",
    "a" * 300,
    "\ufffd\u202e",
    "</s><s>",
)


@pytest.mark.parametrize("path", [f"/models/{name}" for name in (*MODELS, "default-embeddings")])
def test_strange_texts_are_answered_or_refused(nlp: Server, path: str) -> None:
    is_writing = path.endswith(("/summary", "/t5", "/talk"))
    short = {"parameters": {"max_new_tokens": 4}} if is_writing else {}
    for text in STRANGE:
        bodies = (
            {"inputs": text},
            {"inputs": [text, "clara"]},
            {"inputs": text, "parameters": {"candidate_labels": [text, "clara"]}},
            {"question": text, "context": text},
            {"query": text, "table": {text: [text]}},
            {"text": text},
            {"source_sentence": text, "sentences": [text]},
        )
        answers = [post(nlp, path, short | body) for body in bodies]
        assert {answer.status_code for answer in answers} <= {200, 400, 422}, text
    assert httpx.get(f"{nlp.url}/health", timeout=30).status_code == 200


def test_answers_say_what_they_cost(nlp: Server) -> None:
    made = post(nlp, "/models/classifier", {"inputs": "clara"})
    assert made.headers["x-compute-type"] == "cpu"
    assert made.headers["x-compute-characters"] == "5"
    assert float(made.headers["x-compute-time"]) >= 0
    day = httpx.get(f"{nlp.url}/usage", timeout=30).json()
    assert any(row["model"] == "classifier" and row["prompt_tokens"] > 0 for row in day["usage"])
