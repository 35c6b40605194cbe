"""Labels scored by a language model: against each other, each by itself, and without what they score for nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from handful.errors import InvalidParameterError
from handful.nlp_types import ZeroShotAnswer
from handful.server import nlp_zero_shot
from handful.server.nlp_zero_shot import HYPOTHESIS, Choice, ZeroShot
from handful.server.ownership import current_account
from handful.task.calibration import CONTENT_FREE
from tests.fakes import AsyncFakeBackend, FakeBackend
from tests.unit.server.nlp_serving import FakeNlp, ask_nlp
from tests.unit.server.serving import run

LABELS = ("sports", "business")


def prefers(prompt: str, continuation: str) -> float:
    """Half of "sports" behind anything; behind "goal" four times as much, and so of "business" behind "rates"."""
    word = continuation.strip().rstrip(".")
    base = {"sports": 0.2, "business": 0.05}.get(word, 0.1)
    hint = {"goal": "sports", "rates": "business"}
    return float(np.log(base * (4 if any(key in prompt and label == word for key, label in hint.items()) else 1)))


def classify(*texts: str, backend: FakeBackend | None = None, **changes: Any) -> list[ZeroShotAnswer]:
    choice = replace(Choice(LABELS, HYPOTHESIS, is_multiple=False), **changes)
    used = backend or FakeBackend(logprob=prefers)
    return run(ZeroShot().classify(AsyncFakeBackend(used), texts, choice))


def test_the_prompt_is_the_text_and_the_sentence_up_to_the_label() -> None:
    backend = FakeBackend(logprob=prefers)
    classify("A goal!", backend=backend)
    assert backend.prompts[-1] == '"A goal!"\nThis text is about'
    assert backend.prompts[:3] == [f'"{text}"\nThis text is about' for text in CONTENT_FREE]


def test_a_label_that_is_common_everywhere_is_not_preferred_for_it() -> None:
    told_nothing, rates, goal = classify("Hello", "The rates rise", "A goal!")
    assert told_nothing.scores == pytest.approx((0.5, 0.5))
    assert (rates.labels[0], goal.labels[0]) == ("business", "sports")
    assert rates.scores == pytest.approx((0.8, 0.2))
    assert goal.sequence == "A goal!"


def test_alone_a_label_is_above_a_half_where_the_text_makes_it_more_probable() -> None:
    (made,) = classify("A goal about rates", is_multiple=True)
    assert made.scores == pytest.approx((0.8, 0.8))
    (other,) = classify("A goal!", is_multiple=True)
    assert dict(zip(other.labels, other.scores, strict=True)) == pytest.approx({"sports": 0.8, "business": 0.5})


def test_a_single_label_is_judged_by_itself() -> None:
    yes, no = classify("A goal!", "Hello", labels=("sports",))
    assert yes.labels == ("sports",)
    assert yes.scores == pytest.approx((0.8,))
    assert no.scores == pytest.approx((0.5,))


def test_braces_in_the_sentence_and_the_text_mean_nothing() -> None:
    backend = FakeBackend(logprob=prefers)
    classify("{text} {0}", backend=backend, hypothesis="{x} is {}, {{}")
    assert backend.prompts[-1] == '"{text} {0}"\n{x} is'


@pytest.mark.parametrize("labels", [("two\nlines", "b"), (" a", "b")])
def test_labels_that_can_not_be_scored_are_refused_by_name(labels: tuple[str, ...]) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        classify("a", labels=labels)
    assert refused.value.parameter == "candidate_labels"


def test_what_labels_score_for_nothing_is_computed_once_for_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nlp_zero_shot, "MAX_REMEMBERED", 2)
    backend, zero_shot = FakeBackend(logprob=prefers), ZeroShot()

    async def ask(account: str, *labels: str) -> int:
        before, reset = len(backend.prompts), current_account.set(account)
        await zero_shot.classify(AsyncFakeBackend(backend), ["a"], Choice(labels, HYPOTHESIS, False))
        current_account.reset(reset)
        return len(backend.prompts) - before

    assert [run(ask("ada", *LABELS)), run(ask("ada", *LABELS))] == [4, 1]
    assert [run(ask("bob", *LABELS)), run(ask("bob", "x", "y"))] == [4, 4]
    assert run(ask("ada", *LABELS)) == 4  # the oldest made room


def test_a_text_is_not_cut_by_a_language_model() -> None:
    body = {"inputs": "a", "parameters": {"candidate_labels": ["x", "y"], "truncation": True}}
    refused = ask_nlp(FakeNlp(), "/pipeline/zero-shot-classification/fake", body)
    assert (refused.status_code, refused.json()["parameter"]) == (400, "truncation")


def test_a_sentence_of_the_requests_own_is_used() -> None:
    backend = FakeBackend(logprob=prefers)
    classify("a", backend=backend, hypothesis="Topic: {}")
    assert backend.prompts[-1] == '"a"\nTopic:'


@pytest.mark.parametrize(("parameter", "value"), [("truncate", True), ("prompt_name", "query")])
def test_what_a_language_model_can_not_do_for_vectors_is_refused(parameter: str, value: Any) -> None:
    refused = ask_nlp(FakeNlp(), "/pipeline/feature-extraction/fake", {"inputs": "a", parameter: value})
    assert (refused.status_code, refused.json()["parameter"]) == (400, parameter)


def test_vectors_of_a_language_model_are_its_hidden_states() -> None:
    plain = ask_nlp(FakeNlp(), "/pipeline/feature-extraction/fake", {"inputs": ["a", "b"]}).json()
    scaled = ask_nlp(FakeNlp(), "/pipeline/feature-extraction/fake", {"inputs": "a", "normalize": True}).json()
    assert plain == [[3, 4, 0, 0], [3, 4, 0, 0]]
    assert scaled == pytest.approx([0.6, 0.8, 0, 0])


@pytest.mark.parametrize(
    ("task", "way_out"),
    [("summarization", "task file"), ("translation", "task file"), ("fill-mask", "Serve a model for fill-mask")],
)
def test_what_no_language_model_does_here_is_refused_with_a_way_out(task: str, way_out: str) -> None:
    refused = ask_nlp(FakeNlp(), f"/pipeline/{task}/fake", {"inputs": "a"})
    assert refused.status_code == 400
    assert f"can't do {task}" in refused.json()["error"][0]
    assert way_out in refused.json()["error"][0]
