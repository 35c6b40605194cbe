"""A server whose engine dies in the middle: everyone who waits is told, and the process ends to be started again."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.unit.model.tiny_models import checkpoint

# `handful serve` over a model whose engine gives up at its 60th step.
PROGRAM = """
import handful.local
from handful.cli.main import main

load = handful.local.load

def load_dying(name, **options):
    model = load(name, **options)

    def sabotage(engine):
        run, steps = engine.runner.run, iter(range(1_000_000))

        def run_or_die(works):
            if next(steps) == 60:
                raise SystemExit(1)
            return run(works)

        engine.runner.run = run_or_die

    model.loop.call(sabotage)
    return model

handful.local.load = load_dying
main()
"""
ANSWERS = 8


@pytest.fixture
def dying() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", PROGRAM, "serve", "--port", "0", "--model", f"tiny={checkpoint('llama')}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().rpartition(" ")[2].strip()
        for line in process.stdout:
            if line.startswith("ready"):
                break
        yield process, url
        process.kill()


def test_everyone_is_told_within_a_second_and_the_process_ends(dying: tuple[subprocess.Popen[str], str]) -> None:
    process, url = dying
    answers: list[tuple[int, str, float]] = []

    def ask(stream: bool) -> None:
        parameters = {"max_new_tokens": 400, "min_new_tokens": 400}
        body = {"inputs": "the review is", "parameters": parameters, "stream": stream}
        answer = httpx.post(f"{url}/models/tiny", content=json.dumps(body), timeout=60)
        answers.append((answer.status_code, answer.text, time.monotonic()))

    askers = [threading.Thread(target=ask, args=(i % 2 == 0,)) for i in range(ANSWERS)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(answers) == ANSWERS
    told = [at for _, _, at in answers]
    assert max(told) - min(told) < 1.0
    for status, text, _ in answers:
        assert status in (200, 500, 503)
        assert text.count('"error"') == 1
        assert "Traceback" not in text
    assert process.wait(10) == 2
    assert process.stderr is not None
    assert process.stderr.read().splitlines()[-1].startswith("error: The engine of tiny died")
