"""The program `handful`: its subcommands, and the one place where an error becomes a line and an exit code.

Exit codes: 0 done, 1 what was asked can't be done (the line says what to change, or that a server, the Hub or a
database doesn't answer), 2 wrong usage or a fault of handful's own, 130 interrupted.
"""

import errno
import sys
import traceback
from typing import Annotated

import typer

import handful
from handful.cli import compare, distill, fit, models, prompt, run, serve, standard_streams, sweep, tokens, tune, users
from handful.cli import eval as eval_command
from handful.cli.usage import WrongUsageError
from handful.errors import EngineError, HandfulError

app = typer.Typer(
    name="handful",
    help="Few-shot predictions from a language model on your own machine.",
    epilog="Exit codes: 0 done, 1 what was asked can't be done, 2 wrong usage or a fault of handful, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command()(run.run)
app.command()(prompt.prompt)
app.command()(serve.serve)
app.command("eval")(eval_command.evaluate)
app.command()(sweep.sweep)
app.command()(compare.compare)
app.command()(fit.fit)
app.command()(distill.distill)
app.command()(tune.tune)
app.add_typer(models.app, name="models")
app.add_typer(tokens.app, name="tokens")
app.add_typer(users.app, name="users")

EXIT_USER, EXIT_USAGE, EXIT_FAULT, EXIT_INTERRUPTED = 1, 2, 2, 130

# What the machine refuses whoever asks: a full disk or one that can't be written to, standard output's among them.
_OF_THE_SYSTEM = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"handful {handful.__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    """Few-shot predictions from a language model on your own machine."""


def main() -> None:
    """Run the command line; the only function that ends the process."""
    standard_streams.prepare()
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    try:
        app(args=[argument for argument in arguments if argument != "--debug"])  # it may stand anywhere
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else EXIT_FAULT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output left (`handful ... | head`)
        standard_streams.give_up_output()
        return EXIT_USER
    except HandfulError as error:
        return _report(arguments, str(error), _code_of(error))
    except OSError as error:
        standard_streams.give_up_output()
        if error.errno not in _OF_THE_SYSTEM:
            return _report_fault(arguments, error)
        where = error.filename or "Reading or writing failed"
        return _report(arguments, f"{where}: {error.strerror}.", EXIT_USER)
    except Exception as error:  # noqa: BLE001 - the last resort: a fault of ours, told in one line
        return _report_fault(arguments, error)
    return 0


def _code_of(error: HandfulError) -> int:
    if isinstance(error, WrongUsageError):
        return EXIT_USAGE
    return EXIT_FAULT if isinstance(error, EngineError) else EXIT_USER


def _report_fault(arguments: list[str], error: Exception) -> int:
    line = f"{type(error).__name__}: {error}. This is a fault in handful; run again with --debug for details."
    return _report(arguments, line, EXIT_FAULT)


def _report(arguments: list[str], line: str, code: int) -> int:
    if "--debug" in arguments:
        traceback.print_exc()
    print(f"error: {line}", file=sys.stderr)
    return code
