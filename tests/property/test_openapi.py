"""Requests made from /openapi.json, sound ones and broken ones, get answers that it describes, and never a 5xx."""

import asyncio
import itertools
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

from tests.unit.server.routes import DESCRIBED, OPERATIONS, Site, known_names, shown_bodies, site_in

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
NUM_SOUND, NUM_BROKEN = 12, 6  # of each route
NEVER_DONE = {("/tasks/{name}/examples", "delete")}
"""What succeeds only with an id that nobody can make up."""
WITH_BODY = [(path, method) for path, method in OPERATIONS if "requestBody" in DESCRIBED["paths"][path][method]]
SCHEMA = schemathesis.openapi.from_dict(DESCRIBED)


@dataclass
class Fuzzed:
    """A server in this process, with the event loop that it lives in."""

    runner: asyncio.Runner
    site: Site

    def send(self, case: schemathesis.Case[Any]) -> httpx.Response:
        sent: dict[str, Any] = case.as_transport_kwargs(base_url="http://localhost", headers=self.site.headers)
        sent.pop("cookies", None)
        sent["headers"] = {name: value.encode("latin-1") for name, value in sent["headers"].items()}
        if "data" in sent:
            sent["content"] = sent.pop("data")
        return self.runner.run(self.site.client.request(**sent))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with asyncio.Runner() as runner:
        serving = site_in(tmp_path_factory.mktemp("openapi"))
        yield Fuzzed(runner, runner.run(serving.__aenter__()))
        runner.run(serving.__aexit__(None, None, None))


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_is_sent_as_described_is_answered_as_described(path: str, method: str, fuzzed: Fuzzed) -> None:
    statuses = _check(fuzzed, SCHEMA[path][method.upper()].as_strategy(GenerationMode.POSITIVE), NUM_SOUND)
    assert statuses & {200, 201, 204} or (path, method) in NEVER_DONE


@pytest.mark.parametrize(("path", "method"), WITH_BODY)
def test_what_is_not_sent_as_described_is_answered_as_described(path: str, method: str, fuzzed: Fuzzed) -> None:
    _check(fuzzed, SCHEMA[path][method.upper()].as_strategy(GenerationMode.NEGATIVE), NUM_BROKEN)


def _check(fuzzed: Fuzzed, cases: st.SearchStrategy[schemathesis.Case[Any]], num_examples: int) -> set[int]:
    """Send cases, every other one to what is there, every fourth with the documentation's body besides.

    Returns the statuses. Turns, not chance: what is drawn depends on which modules other tests have loaded.
    """
    statuses: set[int] = set()
    turns = itertools.count()

    @seed(1)
    @settings(
        max_examples=num_examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: schemathesis.Case[Any]) -> None:
        path, method = case.operation.path, case.operation.method
        turn = next(turns)
        is_known, is_shown = turn % 2 == 1, turn % 4 >= 2
        if path.startswith("/tasks"):
            fuzzed.runner.run(fuzzed.site.drop_task() if path == "/tasks" else fuzzed.site.make_task())
        if is_known:
            names, given_names = known_names(path), case.path_parameters or {}
            case.path_parameters = {each: names.get(each, value) for each, value in given_names.items()}
        if is_shown and shown_bodies(path, method):
            case.body, case.media_type = shown_bodies(path, method)[0], "application/json"
        answer = fuzzed.send(case)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    check()
    return statuses
