"""Standard input, output and error of the process, made fit for use before a command runs."""

import contextlib
import io
import os
import sys


def prepare() -> None:
    """Closed streams become /dev/null, and what is written can hold every character.

    A closed one is no object in Python but None, and its number would go to the next file that is opened. Where a
    program reads, the encoding is UTF-8 whatever the locale (RFC 8259, 8.1); a terminal keeps its own, and shows what
    it can't as question marks.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - open as long as the process
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="replace")
        else:
            sys.stdout.reconfigure(encoding="utf-8")


def give_up_output() -> None:
    """Nothing more goes to standard output where it takes no more: the interpreter would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
