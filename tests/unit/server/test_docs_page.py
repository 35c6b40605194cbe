"""The page that describes the routes to people."""

import json
import shlex
from html.parser import HTMLParser
from typing import Any

import pytest

from handful.errors import InvalidInputError
from handful.nlp_types import NlpTask
from handful.protocol.nlp_tasks import REQUESTS
from handful.server.docs_page import page
from handful.server.nlp_language_model import LanguageModelTasks
from handful.server.openai_chat_renderer import ChatRenderer
from tests.unit.server.routes import DESCRIBED, OPERATIONS
from tests.unit.server.serving import FakeModel, client_of, run, state_with

PAGE = "".join(page(DESCRIBED))


class Read(HTMLParser):
    """The texts of `<pre>` and `<code>`, and whatever a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self._is_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action") or name[:2] == "on"]
        if tag in ("pre", "code"):
            self.codes.append("")
            self._is_code = True

    def handle_endtag(self, tag: str) -> None:
        self._is_code &= tag not in ("pre", "code")

    def handle_data(self, data: str) -> None:
        if self._is_code:
            self.codes[-1] += data


def read(text: str) -> Read:
    found = Read()
    found.feed(text)
    return found


def test_it_has_every_route() -> None:
    assert {f"{method.upper()} {path}" for path, method in OPERATIONS} <= set(read(PAGE).codes)


def test_it_runs_nothing_and_fetches_nothing() -> None:
    found = read(PAGE)
    assert found.links == ["openapi.json"]
    assert not found.tags & {"script", "img", "link", "iframe", "form", "object", "embed", "svg"}

    async def check() -> None:
        async with client_of(state_with(FakeModel())) as client:
            answer = await client.get("/docs")
            assert answer.text == PAGE
            assert answer.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in answer.headers["content-security-policy"]

    run(check())


def test_its_commands_have_paths_without_gaps_and_bodies_that_a_shell_takes_whole() -> None:
    commands = [shlex.split(code) for code in read(PAGE).codes if code.startswith("curl ")]
    assert len(commands) > len(OPERATIONS)
    assert not [each for each in commands if "{" in " ".join(each).split(" -d ")[0]]
    assert {len(each) for each in commands} <= {2, 4, 6}


ROUTES = ("/models/{name}", "/models/{name}/pipeline/{task}", "/pipeline/{task}/{name}")


def commands_of(route: str) -> dict[str, str]:
    """The path that each task is asked at on the page, by the task."""
    shown = DESCRIBED["paths"][route]["post"]["requestBody"]["content"]["application/json"]["examples"]
    wanted = {json.dumps(each["value"], ensure_ascii=False): task for task, each in shown.items()}
    part = PAGE.split(f"<code>POST {route}</code>")[1].split("</details>")[0]
    commands = [shlex.split(code) for code in read(part).codes if code.startswith("curl ")]
    return {wanted[body]: url.removeprefix("$URL") for _, url, _, body in commands}


def does(task: NlpTask) -> bool:
    """Whether a language model does a task where the route names it."""
    try:
        LanguageModelTasks(ChatRenderer()).check(task, "default")
    except InvalidInputError:
        return False
    return True


def test_without_a_task_in_the_route_each_task_is_asked_of_a_model_that_is_for_it() -> None:
    vectors = dict.fromkeys(("feature-extraction", "sentence-similarity"), "/models/default-embeddings")
    others = dict.fromkeys(REQUESTS, "/models/YOUR-MODEL")
    assert commands_of("/models/{name}") == others | vectors | {"text-generation": "/models/default"}


@pytest.mark.parametrize("route", ROUTES[1:])
def test_a_task_in_the_route_is_that_of_the_body_and_asked_of_a_model_that_does_it(route: str) -> None:
    done = {"text-generation", *filter(does, REQUESTS)}
    for task, path in commands_of(route).items():
        model = next(part for part in path.split("/") if part not in ("", "models", "pipeline", task))
        assert path == route.format(name=model, task=task)
        assert model != "default-embeddings" or task in ("feature-extraction", "sentence-similarity")
        assert (model == "YOUR-MODEL") is (task not in done), task


@pytest.mark.parametrize("route", ROUTES)
def test_a_task_that_no_model_of_handfuls_does_is_said_to_need_another(route: str) -> None:
    assert "fill-mask: Not for default: put the name of a model for fill-mask that you serve." in PAGE
    assert commands_of(route)["fill-mask"].count("YOUR-MODEL") == 1


def test_what_a_document_says_is_text_on_the_page() -> None:
    said: dict[str, Any] = {
        "info": {"title": "<b>t</b>", "version": "1", "summary": "<script>alert(1)</script>"},
        "tags": [{"name": "a", "description": "<i>"}],
        "paths": {"/<u>": {"get": {"tags": ["a"], "summary": "<s>", "description": "<q>", "responses": {}}}},
    }
    assert not read("".join(page(said))).tags & {"b", "script", "i", "u", "s", "q"}
