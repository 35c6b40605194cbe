"""A dataclass of options is the same to typer as its fields one by one."""

from dataclasses import FrozenInstanceError, dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from handful.cli.option_groups import grouped

NameArgument = Annotated[str, typer.Argument(help="Who.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    size: Annotated[int, typer.Option("--size", "-s", min=1, help="How large.")]
    words: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do nothing.")] = False


asked_for: list[tuple[str, Options]] = []


@grouped
def command(name: NameArgument, *, asked: Options) -> None:
    """Do it."""
    asked_for.append((name, asked))


app = typer.Typer(pretty_exceptions_enable=False)
app.command()(command)


def invoke(*arguments: str) -> tuple[int, str]:
    asked_for.clear()
    found = CliRunner().invoke(app, list(arguments))
    return found.exit_code, found.output


def test_each_field_is_an_option() -> None:
    assert invoke("me", "--size", "2", "--words", "a", "--words", "b", "--dry-run") == (0, "")
    assert asked_for == [("me", Options(size=2, words=["a", "b"], dry_run=True))]


def test_defaults_are_the_fields() -> None:
    assert invoke("me", "-s", "3") == (0, "")
    ((_, asked),) = asked_for
    assert (asked.size, asked.words or [], asked.dry_run) == (3, [], False)
    with pytest.raises(FrozenInstanceError):
        asked.size = 4  # type: ignore[misc]  # that it can't be set is what is tested


def test_a_field_without_a_default_is_required_and_bounds_are_kept() -> None:
    code, said = invoke("me")
    assert (code, "Missing option" in said) == (2, True)
    code, said = invoke("me", "--size", "0")
    assert (code, "--size" in said) == (2, True)


def test_the_help_lists_them_with_their_own_words() -> None:
    code, said = invoke("--help")
    assert code == 0
    for part in ("Do it.", "--size", "How large.", "--words", "--dry-run", "Who."):
        assert part in said
