"""Chat templates in processes of their own: a hostile one costs its own request, nothing else."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from handful.errors import InvalidInputError
from handful.server.openai_chat_renderer import MAX_WORKERS, ChatRenderer, TemplateWorker
from handful.types import ChatTemplate
from tests.unit.server.serving import run

HELLO = [{"role": "user", "content": "Héllo\n\x00"}]
PLAIN = "{{ messages[0].content }}{{ eos_token }}"
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def renderer() -> Iterator[ChatRenderer]:
    made = ChatRenderer(timeout_s=1.0)
    yield made
    made.close()


def test_a_template_is_rendered_by_a_process_that_is_kept(renderer: ChatRenderer) -> None:
    async def check() -> None:
        template = ChatTemplate(PLAIN, (("eos_token", "</s>"),))
        assert await renderer.render(template, HELLO) == "Héllo\n\x00</s>"
        (worker,) = renderer._workers.values()
        process = worker._process
        assert await renderer.render(template, HELLO) == "Héllo\n\x00</s>"
        assert worker._process is process

    run(check())


@pytest.mark.parametrize(
    "source",
    [
        ENDLESS,
        "{{ 'a' * 10 ** 10 }}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{{ (10 ** 8) ** (10 ** 8) }}",
        "{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}",
        "{{ " + "(" * 3000 + ")" * 3000 + " }}",
    ],
)
def test_a_template_without_end_is_given_up_and_the_next_chat_is_answered(renderer: ChatRenderer, source: str) -> None:
    async def check() -> None:
        started = time.monotonic()
        with pytest.raises(InvalidInputError, match="template"):
            await renderer.render(ChatTemplate(source), HELLO)
        assert time.monotonic() - started < 8
        assert await renderer.render(ChatTemplate(PLAIN), HELLO) == HELLO[0]["content"]

    run(check())


def test_the_event_loop_goes_on_meanwhile(renderer: ChatRenderer) -> None:
    async def check() -> None:
        rendering = asyncio.ensure_future(renderer.render(ChatTemplate(ENDLESS), HELLO))
        num_turns = 0
        while not rendering.done():
            await asyncio.sleep(0.01)
            num_turns += 1
        assert num_turns > 20
        assert isinstance(rendering.exception(), InvalidInputError)

    run(check())


def test_a_worker_is_told_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary-secret")
    worker = TemplateWorker(ChatTemplate(PLAIN))
    worker.render(HELLO)
    assert worker._process is not None
    assert b"canary-secret" not in Path(f"/proc/{worker._process.pid}/environ").read_bytes()
    worker.close()


def test_at_most_so_many_processes_are_kept(renderer: ChatRenderer) -> None:
    async def check() -> None:
        for i in range(MAX_WORKERS + 2):
            assert await renderer.render(ChatTemplate(str(i)), HELLO) == str(i)
        assert len(renderer._workers) == MAX_WORKERS

    run(check())


def test_closing_ends_the_processes() -> None:
    worker = TemplateWorker(ChatTemplate(PLAIN))
    worker.render(HELLO)
    assert worker._process is not None
    pid = worker._process.pid
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_was_killed_is_replaced() -> None:
    worker = TemplateWorker(ChatTemplate(PLAIN))
    worker.render(HELLO)
    assert worker._process is not None
    worker._process.kill()
    worker._process.wait()
    assert worker.render(HELLO) == HELLO[0]["content"]
    worker.close()
