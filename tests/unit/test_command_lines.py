"""Every `handful ...` line in the documents and the program's own help is one that the program understands.

Nothing is run: each line's command and options are looked up among those there are.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from handful.cli.main import app

ROOT = Path(__file__).parents[2]
PLACES = ("README.md", "docs", "examples", "src", "Makefile", "benchmarks")
ENDINGS = {".md", ".py", ".yaml", ""}
# A line of a shell block or of a docstring, a prompt or path before it, or code between backquotes.
COMMAND = get_command(app)
assert isinstance(COMMAND, TyperGroup)
NAMES = "|".join(COMMAND.commands)
LINE = re.compile(rf"(?:^|[`|]) *(?:\$ )?(?:\S*/bin/)?handful ((?:{NAMES})\b[^`\n]*)", re.MULTILINE)


def lines() -> Iterator[tuple[str, str]]:
    """(file, arguments) of each command line."""
    for place in PLACES:
        path = ROOT / place
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix in ENDINGS:
                for found in LINE.findall(file.read_text(encoding="utf-8", errors="replace")):
                    yield str(file.relative_to(ROOT)), found.strip()


def options(arguments: list[str]) -> tuple[list[str], set[str]]:
    """The options in a command line, and those its command has."""
    command = get_command(app)
    words = list(arguments)
    while isinstance(command, TyperGroup) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    used = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return used, known | {"--help", "--debug"}


def words(line: str) -> list[str]:
    """The words of one command, without what the shell does with it."""
    try:
        found = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe of the prose behind it
        found = line.split()
    for stop in ("|", ">", "2>", "&&", "&"):
        if stop in found:
            found = found[: found.index(stop)]
    return [word.rstrip(".,;:)]").lstrip("[(") for word in found]


@pytest.mark.parametrize(("file", "line"), sorted(set(lines())))
def test_a_command_line_is_understood(file: str, line: str) -> None:
    used, known = options(words(line))
    assert [option for option in used if option not in known] == [], file


def test_there_are_lines_of_all_commands() -> None:
    assert {line.split()[0] for _, line in lines()} >= {"run", "prompt", "serve", "models"}


def test_an_option_that_is_not_there_is_found() -> None:
    used, known = options(words("run task.yaml --inptu FILE | jq ."))
    assert set(used) - known == {"--inptu"}
