"""What the README and the examples' page tell people to type is typed here, so that it can't go stale.

Convention. Bash blocks: each line that starts with `handful` is a command, continued by a backslash at its end. It is
run from the repository's root, except `handful serve`: that is the server of these tests, on another port. Lines that
start with anything else (git, make) are not run here. Python blocks are run whole, each in a process of its own, from
the repository's root; `http://127.0.0.1:8000` in them is the server of these tests. Commands in the last column of a
table are run in this process over one model. Blocks of another language, `text` or `console` among them, show
something and are not run.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from handful.backend import Backend
from handful.cli import run as run_command
from handful.cli.main import main
from tests.e2e.conftest import HANDFUL, Server

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for path in (
        ROOT / "README.md",
        ROOT / "examples" / "README.md",
        ROOT / "docs" / "learning.md",
        ROOT / "docs" / "tasks-api.md",
    )
    if path.exists()
]
TABLE = re.compile(r"^\|.*`(handful run [^`]*)` \|$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The blocks of a language on all pages."""
    found = [match for page in PAGES for match in BLOCK.findall(page.read_text(encoding="utf-8"))]
    return [text for named, text in found if named == language]


def commands() -> list[str]:
    """The `handful` commands of all bash blocks, without those that serve."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("handful ") and not line.startswith("handful serve")]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HANDFUL_THREADS": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_the_pages_have_something_to_run() -> None:
    assert len(commands()) >= 4
    assert len(blocks("python")) >= 2


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_pages_works(command: str) -> None:
    done = run([*HANDFUL, *shlex.split(command, comments=True)[1:]])
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_a_python_block_of_the_pages_works(number: int, server: Server) -> None:
    code = blocks("python")[number].replace("http://127.0.0.1:8000", server.url)
    done = run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    "command", [line for page in PAGES for line in TABLE.findall(page.read_text(encoding="utf-8"))]
)
def test_a_command_of_the_tables_works(
    command: str, default_model: Backend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(default_model, "close", lambda: None)  # the next test needs it
    monkeypatch.setattr(run_command, "open_backend", lambda name, **options: default_model)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert capsys.readouterr().out
