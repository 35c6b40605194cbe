"""What /openapi.json says of every route: what it is for, who is let in, how it fails, and bodies that show its use."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from handful.server.app import create_app
from tests.unit.server.routes import DESCRIBED, SPELT_OUT
from tests.unit.server.serving import FakeModel, client_of, run, state_with

DOCUMENT = SPELT_OUT
OPERATIONS = {
    f"{method} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
PROBES = {"get /health", "get /ready"}
OTHER_THAN_JSON = {"get /metrics", "get /docs", "post /generate_stream"}
JSON_BODIES = {
    name: operation["requestBody"]["content"]["application/json"]
    for name, operation in OPERATIONS.items()
    if "application/json" in operation.get("requestBody", {}).get("content", {})
}
DONE = {
    name: content["application/json"]
    for name, operation in OPERATIONS.items()
    for status, answer in operation["responses"].items()
    if status in ("200", "201") and "application/json" in (content := answer.get("content", {}))
}


def _examples(content: dict[str, Any]) -> list[Any]:
    return [each["value"] for each in content.get("examples", {}).values()] or [content["example"]]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_route_says_what_it_is_for(name: str) -> None:
    assert OPERATIONS[name]["summary"]
    assert OPERATIONS[name]["description"]
    assert set(OPERATIONS[name]["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - PROBES))
def test_every_route_but_the_probes_needs_a_token_and_says_what_happens_without(name: str) -> None:
    (wanted,) = OPERATIONS[name]["security"]
    assert DOCUMENT["components"]["securitySchemes"][next(iter(wanted))]["scheme"] == "bearer"
    assert {"401", "403", "429"} <= set(OPERATIONS[name]["responses"])


@pytest.mark.parametrize("name", sorted(PROBES))
def test_a_probe_needs_none_and_says_what_no_means(name: str) -> None:
    assert "security" not in OPERATIONS[name]
    assert set(OPERATIONS[name]["responses"]) == {"200", "400", "403", "503"}


@pytest.mark.parametrize("name", JSON_BODIES)
def test_every_body_has_an_example_that_its_schema_takes(name: str) -> None:
    validator = jsonschema_rs.validator_for(JSON_BODIES[name]["schema"])
    for example in _examples(JSON_BODIES[name]):
        validator.validate(example)


@pytest.mark.parametrize("name", [name for name in JSON_BODIES if "{task}" not in name and "tasks" not in name])
def test_the_example_of_a_body_is_not_refused_as_malformed(name: str) -> None:
    """Only models that aren't there, or aren't for the task, stand against it."""
    path = name.split(" ")[1].replace("{org}/{name}", "org/fake").replace("{name}", "fake")

    async def check() -> None:
        async with client_of(state_with(FakeModel())) as client:
            answer = await client.post(path, json=_examples(JSON_BODIES[name])[0])
            assert answer.status_code in (200, 404, 503), answer.text

    run(check())


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_route_says_what_it_answers(name: str) -> None:
    """JSON, but for figures, streams, and what answers with nothing."""
    answered = [status for status in OPERATIONS[name]["responses"] if status.startswith("2")]
    assert len(answered) == 1
    assert name in DONE or answered == ["204"] or name in OTHER_THAN_JSON


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_parameter_has_an_example_or_a_default_that_its_schema_takes(name: str) -> None:
    for each in OPERATIONS[name].get("parameters", ()):
        shown = each.get("example", each["schema"].get("default"))
        assert shown is not None, each
        jsonschema_rs.validator_for(each["schema"]).validate(shown)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_shown_by_an_example(name: str) -> None:
    for status, answer in OPERATIONS[name]["responses"].items():
        for content in answer.get("content", {}).values():
            assert "example" in content or "examples" in content, status


def test_nothing_is_described_that_the_framework_would_have_answered() -> None:
    assert "HTTPValidationError" not in str(DOCUMENT)


@pytest.mark.parametrize("header", ["x-wait-for-model", "x-load-model", "x-use-cache", "x-zero-shot-shape"])
def test_the_headers_of_a_model_are_described(header: str) -> None:
    named = {name for name, each in OPERATIONS.items() if header in str(each.get("parameters"))}
    assert {"post /models/{name}", "post /pipeline/{task}/{org}/{name}"} <= named
    assert not named & {"post /tasks", "get /v1/models", "post /api/models", "put /tasks/{name}"}


@pytest.mark.parametrize("name", DONE)
def test_every_answer_has_a_shape_and_examples_of_it(name: str) -> None:
    schema = DONE[name]["schema"]
    assert {"type", "anyOf"} & schema.keys()
    for example in _examples(DONE[name]):
        jsonschema_rs.validator_for(schema).validate(example)


@pytest.mark.parametrize("name", DONE)
def test_an_answer_of_another_shape_is_told_from_it(name: str) -> None:
    validator = jsonschema_rs.validator_for(DONE[name]["schema"])
    for other in (None, "text", {"surprise": 1}, [{"surprise": 1}]):
        assert not validator.is_valid(other), other


def test_what_is_said_often_is_said_once() -> None:
    """Clients are made from this document, and agents read it: written out it has more than three times the size."""
    said, written_out = (len(json.dumps(each)) for each in (DESCRIBED, SPELT_OUT))
    assert 3 * said < written_out
    texts = [json.dumps(each, sort_keys=True) for each in DESCRIBED["components"]["schemas"].values()]
    assert len(set(texts)) == len(texts)


def test_what_is_referred_to_is_there_and_nothing_else() -> None:
    referred = set(re.findall(r'"#/components/(\w+/[\w.-]+)"', json.dumps(DESCRIBED)))
    kinds = DESCRIBED["components"].keys() - {"securitySchemes"}
    there = {f"{kind}/{name}" for kind in kinds for name in DESCRIBED["components"][kind]}
    assert referred == there


def test_every_app_says_the_same() -> None:
    assert create_app(state_with(FakeModel())).openapi() == DESCRIBED


def test_an_answer_that_can_be_streamed_is_described_as_one() -> None:
    streamed = {
        name for name, operation in OPERATIONS.items() if "text/event-stream" in str(operation["responses"].get("200"))
    }
    assert {"post /v1/completions", "post /models/{name}", "post /generate_stream", "post /tasks/{name}"} <= streamed
    assert not streamed & {"post /v1/embeddings", "post /tokenize", "get /info"}
