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
from handful.server.app import create_app
from handful.server.model_host import ModelHost
from handful.server.registry import ServedModel
from handful.store.models import StoredModel
from tests.unit.server.serving import FakeModel, client_of, state_with
from tests.unit.server.with_access import bearer, opened, state_over

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
NUM_SOUND, NUM_BROKEN = 12, 6  # of each route
NAMES = {"name": "fake", "org": "org", "task": "text-generation"}
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


def _load_nothing(model: StoredModel, token: str | None) -> ServedModel:
    raise NotFoundError(f"{model.name} is registered by a test and is nowhere.")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("openapi")
    with opened(folder) as database, asyncio.Runner() as runner:
        headers = bearer(database, scopes=("predict", "manage"))
        host = ModelHost(_load_nothing, lambda _: None, folder / "models", 1 << 20)
        serving = client_of(state_over(database, FakeModel(), host=host))
        client = runner.run(serving.__aenter__())
        yield Site(runner, client, headers)
        runner.run(serving.__aexit__(None, None, None))


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_is_sent_as_described_is_answered_as_described(path: str, method: str, site: Site) -> None:
    _check(site, SCHEMA[path][method.upper()].as_strategy(GenerationMode.POSITIVE), NUM_SOUND)


@pytest.mark.parametrize(("path", "method"), WITH_BODY)
def test_what_is_not_sent_as_described_is_answered_as_described(path: str, method: str, site: Site) -> None:
    _check(site, SCHEMA[path][method.upper()].as_strategy(GenerationMode.NEGATIVE), NUM_BROKEN)


def _check(site: Site, cases: st.SearchStrategy[schemathesis.Case[Any]], num_examples: int) -> None:
    @seed(1)
    @settings(
        max_examples=num_examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, is_known=st.booleans())
    def check(case: schemathesis.Case[Any], is_known: bool) -> None:
        if is_known:
            given_names = case.path_parameters or {}
            case.path_parameters = {each: NAMES.get(each, value) for each, value in given_names.items()}
        case.validate_response(site.send(case), checks=CHECKS)

    check()
