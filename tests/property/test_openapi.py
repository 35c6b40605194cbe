"""Requests made from /openapi.json, sound ones and broken ones, get answers that it describes, and never a 5xx."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from handful.errors import NotFoundError
from handful.protocol.task_shapes import TASK
from handful.server.app import create_app
from handful.server.auth_state import Access
from handful.server.model_host import ModelHost
from handful.server.served_model import ServedModel
from handful.store.models import StoredModel
from handful.types import ChatTemplate
from tests.unit.server.serving import FakeModel, client_of, state_with
from tests.unit.server.with_access import bearer, opened

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
NUM_SOUND, NUM_BROKEN = 12, 6  # of each route
NAMES = {"name": "fake", "org": "org", "task": "text-generation", "framework": "transformers"}
NAMES_BELOW = {
    "/tasks": {"name": "sentiment"},
    "/api/models/{org}/{name}/files": {"org": "default", "name": "sent", "filename": "config.json"},
    "/api/models": {"org": "default", "name": "mine"},
}
NEVER_DONE = {("/tasks/{name}/examples", "delete")}
"""What succeeds only with an id that nobody can make up."""
DESCRIBED = create_app(state_with(FakeModel())).openapi()
OPERATIONS = [(path, method) for path, methods in DESCRIBED["paths"].items() for method in methods]
WITH_BODY = [(path, method) for path, method in OPERATIONS if "requestBody" in DESCRIBED["paths"][path][method]]
SCHEMA = schemathesis.openapi.from_dict(DESCRIBED)


@dataclass
class Site:
    """A server in this process, with the event loop it lives in and a token that may change everything."""

    runner: asyncio.Runner
    client: httpx.AsyncClient
    headers: dict[str, str]

    def send(self, case: schemathesis.Case[Any]) -> httpx.Response:
        sent: dict[str, Any] = case.as_transport_kwargs(base_url="http://localhost", headers=self.headers)
        sent.pop("cookies", None)
        if "data" in sent:
            sent["content"] = sent.pop("data")
        return self.runner.run(self.client.request(**sent))

    def make_task(self) -> None:
        """Have the task that the documentation shows, unless it is there."""
        self.runner.run(self.client.post("/tasks", json=TASK, headers=self.headers))


def _load_nothing(model: StoredModel, token: str | None) -> ServedModel:
    raise NotFoundError(f"{model.name} is registered by a test and is nowhere.")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("openapi")
    with opened(folder) as database, asyncio.Runner() as runner:
        headers = bearer(database, scopes=("predict", "manage"))
        host = ModelHost(_load_nothing, lambda _: None, folder / "models", 1 << 20)
        model = FakeModel(chat_template=ChatTemplate("{{ messages[0].content }}"))
        access = Access.over(database, tokens_required=True)
        serving = client_of(state_with(model, access=access, host=host))
        client = runner.run(serving.__aenter__())
        yield Site(runner, client, headers)
        runner.run(serving.__aexit__(None, None, None))


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_is_sent_as_described_is_answered_as_described(path: str, method: str, site: Site) -> None:
    statuses = _check(site, SCHEMA[path][method.upper()].as_strategy(GenerationMode.POSITIVE), NUM_SOUND)
    assert statuses & {200, 201, 204} or (path, method) in NEVER_DONE


@pytest.mark.parametrize(("path", "method"), WITH_BODY)
def test_what_is_not_sent_as_described_is_answered_as_described(path: str, method: str, site: Site) -> None:
    _check(site, SCHEMA[path][method.upper()].as_strategy(GenerationMode.NEGATIVE), NUM_BROKEN)


def _check(site: Site, cases: st.SearchStrategy[schemathesis.Case[Any]], num_examples: int) -> set[int]:
    """Send cases, some of them to what is there and with the body of the documentation. Returns the statuses."""
    statuses: set[int] = set()

    @seed(1)
    @settings(
        max_examples=num_examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, is_known=st.booleans(), is_shown=st.booleans())
    def check(case: schemathesis.Case[Any], is_known: bool, is_shown: bool) -> None:
        path = case.operation.path
        if path.startswith("/tasks/"):
            site.make_task()
        if is_known:
            known = NAMES | next((names for start, names in NAMES_BELOW.items() if path.startswith(start)), {})
            given_names = case.path_parameters or {}
            case.path_parameters = {each: known.get(each, value) for each, value in given_names.items()}
        shown = _shown_bodies(path, case.operation.method)
        if is_shown and shown:
            model = {"model": None} if path.endswith(("completions", "embeddings")) else {}  # that of the route
            case.body, case.media_type = {**shown[0], **model}, "application/json"
        answer = site.send(case)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    check()
    return statuses


def _shown_bodies(path: str, method: str) -> list[Any]:
    content = DESCRIBED["paths"][path][method].get("requestBody", {}).get("content", {}).get("application/json", {})
    examples = [each["value"] for each in content.get("examples", {}).values()]
    return examples or ([content["example"]] if "example" in content else [])
