"""The page that describes the routes to people."""

import shlex
from html.parser import HTMLParser
from typing import Any

from handful.server.docs_page import page
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


def test_what_a_document_says_is_text_on_the_page() -> None:
    said: dict[str, Any] = {
        "info": {"title": "<b>t</b>", "version": "1", "summary": "<script>alert(1)</script>"},
        "tags": [{"name": "a", "description": "<i>"}],
        "paths": {"/<u>": {"get": {"tags": ["a"], "summary": "<s>", "description": "<q>", "responses": {}}}},
    }
    assert not read("".join(page(said))).tags & {"b", "script", "i", "u", "s", "q"}
