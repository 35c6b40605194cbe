"""Help and version: at once, without anything heavy, in words, for every command there is."""

import json
import re
import resource
import subprocess
import sys

import pytest
import typer
from typer.main import get_command

from handful.cli.main import app

HEAVY = [
    "torch",
    "transformers",
    "numpy",
    "fastapi",
    "uvicorn",
    "pydantic_settings",
    "yaml",
    "httpx",
    "huggingface_hub",
    "sqlalchemy",
]
PROGRAM = f"""
import json, sys
from handful.cli.main import main
try:
    main()
finally:
    print(json.dumps(sorted(set({HEAVY}) & set(sys.modules))), file=sys.stderr)
"""


def commands(group: typer.core.TyperGroup, path: tuple[str, ...] = ()) -> list[list[str]]:
    """The path of every command below a group, and of the group."""
    found = [list(path)]
    for name, command in group.commands.items():
        below = (*path, name)
        found += commands(command, below) if isinstance(command, typer.core.TyperGroup) else [list(below)]
    return found


GROUP = get_command(app)
assert isinstance(GROUP, typer.core.TyperGroup)
COMMANDS = commands(GROUP)
ASKED = [["--version"], *([*command, "--help"] for command in COMMANDS)]


def processor_time_s() -> float:
    """What ended children have computed: unlike the clock's time, hardly longer on a machine that is busy."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ask(arguments: list[str]) -> tuple[subprocess.CompletedProcess[str], float]:
    before_s = processor_time_s()
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    return done, processor_time_s() - before_s


# On a quiet machine it takes 0.3 s; half a second is promised. A shared one may run at half its speed for minutes, and
# what would break the promise (torch, pydantic models, numpy) costs a second and more.
LIMIT_S = 1.0
MAX_TRIES = 4


@pytest.mark.parametrize("arguments", ASKED, ids=" ".join)
def test_it_comes_at_once_and_imports_nothing_heavy(arguments: list[str]) -> None:
    tries = [ask(arguments)]
    while len(tries) < MAX_TRIES and tries[-1][1] >= LIMIT_S * 0.5:
        tries.append(ask(arguments))
    done = tries[0][0]
    assert done.returncode == 0
    assert json.loads(done.stderr) == []
    assert "\x1b" not in done.stdout
    assert min(seconds for _, seconds in tries) < LIMIT_S


def test_there_are_the_commands_of_the_first_version() -> None:
    first = [["run"], ["prompt"], ["serve"], ["models", "list"], ["models", "pull"], ["models", "info"]]
    assert [command for command in first if command not in COMMANDS] == []


def test_the_version_is_that_of_the_package() -> None:
    done, _ = ask(["--version"])
    assert re.fullmatch(r"handful \d+\.\d+\.\d+\S*\n", done.stdout)


def test_every_option_is_explained() -> None:
    for path in COMMANDS:
        command = get_command(app)
        for name in path:
            assert isinstance(command, typer.core.TyperGroup)
            command = command.commands[name]
        assert command.help, path
        for parameter in command.params:
            assert getattr(parameter, "help", None), (path, parameter.name)


def test_the_exit_codes_are_told() -> None:
    done, _ = ask(["--help"])
    told = " ".join(done.stdout.split())
    for code in ("0 done", "1 what was asked can't be done", "2 wrong usage", "130 interrupted"):
        assert code in told
