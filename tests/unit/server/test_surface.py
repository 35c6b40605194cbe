"""Which surface a path belongs to."""

from typing import Any

import jsonschema_rs
import pytest

from handful.server.app import create_app
from handful.server.surface import TGI_PATHS, Failure, shaped, surface_of
from tests.unit.server.routes import SPELT_OUT
from tests.unit.server.serving import FakeModel, state_with


@pytest.mark.parametrize(
    ("path", "surface"),
    [
        ("/v1/completions", "openai"),
        ("/v1/models/org/name", "openai"),
        ("/models/name/v1/chat/completions", "openai"),
        ("/models/org/name/v1/completions", "openai"),
        ("/v1/\n", "openai"),
        ("/", "tgi"),
        ("/v1", "tgi"),
        ("/generate", "tgi"),
        ("/generate_stream", "tgi"),
        ("/tokenize", "tgi"),
        ("/info", "tgi"),
        ("/models/name", "hugging face"),
        ("/models/v1/name", "hugging face"),
        ("/models/org/v1", "hugging face"),
        ("/models/a/b/c/v1/completions", "hugging face"),
        ("/tasks/v1", "hugging face"),
        ("", "hugging face"),
    ],
)
def test_a_path_belongs_to_one_surface(path: str, surface: str) -> None:
    assert surface_of(path) == surface


def test_every_route_says_how_it_may_fail() -> None:
    for path, methods in create_app(state_with(FakeModel())).openapi()["paths"].items():
        for method, described in methods.items():
            if path in ("/health", "/ready", "/metrics"):
                continue
            statuses = set(described["responses"])
            assert {"401", "404", "413", "429", "500", "503", "504"} <= statuses or path in TGI_PATHS, (method, path)
            assert "422" in statuses or surface_of(path) == "openai", (method, path)


def test_the_examples_of_failures_have_the_surfaces_shape() -> None:
    document = SPELT_OUT["paths"]

    def shown(path: str, status: str) -> Any:
        content = document[path]["post"]["responses"][status]["content"]["application/json"]
        jsonschema_rs.validator_for(content["schema"]).validate(content["example"])
        return content["example"]

    assert shown("/v1/completions", "400")["error"].keys() == {"message", "type", "code", "param"}
    assert shown("/generate", "424")["error_type"] == "generation"
    refused = shown("/models/{name}", "400")
    assert refused["error"] == [refused["message"]]
    assert isinstance(shown("/models/{name}", "503")["error"], str)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, "unauthorized", ("authentication_error", "invalid_api_key")),
        (403, "forbidden", ("permission_error", "forbidden")),
        (429, "rate_limited", ("rate_limit_error", "rate_limit_exceeded")),
        (503, "not_ready", ("server_error", "not_ready")),
    ],
)
def test_who_may_not_and_who_must_wait_is_told_in_openais_words(status: int, kind: str, said: tuple[str, str]) -> None:
    told, body = shaped(Failure(status, kind, ("No.",)), "/v1/completions")
    assert (told, (body["error"]["type"], body["error"]["code"])) == (status, said)
