"""Exit codes and error lines: what each end of the program looks like from outside."""

import sys
from collections.abc import Callable

import pytest

from handful.cli import run as run_command
from handful.cli.main import main
from handful.cli.usage import WrongUsageError
from handful.errors import (
    BusyError,
    EngineError,
    NotFoundError,
    NotReadyError,
    RemoteError,
    RequestTimeoutError,
    StoreError,
    TaskError,
)

Ended = tuple[int, str, str]


@pytest.fixture
def end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the command line where `run` raises `error`: exit code, standard output, standard error."""

    def run(error: BaseException | None, *arguments: str) -> Ended:
        def raise_it(*_: object) -> int:
            if error is not None:
                raise error
            return 0

        monkeypatch.setattr(run_command, "run_task", raise_it)
        monkeypatch.setattr(sys, "argv", ["handful", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_what_is_done_is_0(end: Callable[..., Ended]) -> None:
    assert end(None, "run", "t.yaml") == (0, "", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("Nothing there.", fix="Look elsewhere."), 1),
        (TaskError("t.yaml:3: `labels` is empty."), 1),
        (EngineError("It broke."), 2),
        (WrongUsageError("--data", "is missing: the labelled rows."), 2),
        (RemoteError("No server answers at http://127.0.0.1:9."), 1),
        (NotReadyError("The Hub can't be reached."), 1),
        (RequestTimeoutError("Nothing came."), 1),
        (StoreError("The database can't be reached."), 1),
        (BusyError("Full."), 1),
        (ZeroDivisionError("division by zero"), 2),
    ],
)
def test_every_other_end_has_one_line_and_its_code(error: BaseException, code: int, end: Callable[..., Ended]) -> None:
    ended, out, err = end(error, "run", "t.yaml")
    assert (ended, out) == (code, "")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert str(error) in err


@pytest.mark.parametrize("command", [(), ("run",), ("models", "list")])
def test_h_asks_for_help_as_well(command: tuple[str, ...], end: Callable[..., Ended]) -> None:
    short, long = end(None, *command, "-h"), end(None, *command, "--help")
    assert short == long
    assert (short[0], "Usage: " in short[1]) == (0, True)


def test_an_interruption_is_130_without_a_traceback(end: Callable[..., Ended]) -> None:
    assert end(KeyboardInterrupt(), "run", "t.yaml") == (130, "", "")


def test_an_errors_way_out_is_told_with_it(end: Callable[..., Ended]) -> None:
    error = NotFoundError("Nothing there.", fix="Look elsewhere.")
    assert end(error, "run", "t.yaml")[2] == "error: Nothing there. Look elsewhere.\n"


@pytest.mark.parametrize("arguments", [("--debug", "run", "t.yaml"), ("run", "t.yaml", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(arguments: tuple[str, ...], end: Callable[..., Ended]) -> None:
    code, _, err = end(TaskError("Bad."), *arguments)
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("error: Bad.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "t.yaml", "--jsn"), "--json"),
        (("nonsense",), "nonsense"),
        (("run", "t.yaml", "--batch-size", "0"), "greater than or equal to 1"),
        (("run", "t.yaml", "--batch-size", "many"), "--batch-size"),
        (("run", "t.yaml", "--precision", "float16"), "float32"),
        (("serve", "--precision", "default=float16"), "float32"),
        (("run", "t.yaml", "--device", "tpu"), "cuda"),
        (("serve", "--port", "70000"), "65535"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_right(
    arguments: tuple[str, ...], says: str, end: Callable[..., Ended]
) -> None:
    code, out, err = end(None, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert "--help" in err
    assert "Traceback" not in err
    assert "\x1b" not in err
