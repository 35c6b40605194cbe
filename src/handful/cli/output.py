"""Showing results on standard output: JSON lines for programs, readable text for people.

A record is a JSON object. Predictions (schema 1): `input` (text, or an object of the task's variables), `prediction`,
then `abstained` where the task has a threshold, `probabilities` for labels, or `completion` and `finish_reason` for
free text, then `num_prompt_tokens` and `dropped_examples`. A row that couldn't be answered: `input`, `prediction`
(null) and `error`.

Invariant: no escape sequence reaches a stream that isn't a terminal, and none of a model's or a file's own reaches any.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

SCHEMA = 1
Record = Mapping[str, Any]
Pieces = list[tuple[str, str]]  # text and its rich style ("" for none)

_MAX_SHOWN_LABELS = 5


def json_line(record: Record) -> str:
    """The record as one line of JSON, line break included. Not a byte is escaped that needn't be."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(records: Iterable[Record], out: TextIO) -> None:
    """Records as JSON lines, flushed."""
    for record in records:
        out.write(json_line(record))
    out.flush()


def write_text(records: Iterable[Record], out: TextIO) -> None:
    """Records for people, flushed: the input on one line, the answer below it."""
    if not out.isatty():
        for record in records:
            out.write("".join(text for text, _ in _pieces(record, width=None)))
        out.flush()
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out, highlight=False, soft_wrap=True)  # it honours NO_COLOR and TERM=dumb
    for record in records:
        console.print(Text.assemble(*_pieces(record, width=console.width)), end="")


def tell(line: str) -> None:
    """A remark for people, on standard error."""
    print(harmless(line), file=sys.stderr)


def _pieces(record: Record, width: int | None) -> Pieces:
    """A record as styled text. `width` cuts the input's line, which is only a reminder, to a terminal's width."""
    given = record["input"]
    shown = given if isinstance(given, str) else ", ".join(f"{name}: {value}" for name, value in given.items())
    shown = harmless(" ".join(shown.split()))
    if width is not None and len(shown) > width:
        shown = shown[: max(width - 1, 1)] + "…"
    head: Pieces = [(shown + "\n", "")]
    if "error" in record:
        return [*head, ("  error: ", "bold red"), (harmless(record["error"]) + "\n", "")]
    if "probabilities" in record:
        return head + _label_pieces(record)
    indented = harmless(record["prediction"]).replace("\n", "\n  ")
    cut = [("  (cut off at max_new_tokens)", "dim")] if record["finish_reason"] == "length" else []
    return [*head, ("  " + indented, "bold green"), *cut, ("\n", "")]


def _label_pieces(record: Record) -> Pieces:
    """The prediction and its probability, then the next most probable labels."""
    probabilities: Mapping[str, float] = record["probabilities"]
    best = record["prediction"]
    others = sorted((label for label in probabilities if label != best), key=lambda label: -probabilities[label])
    rest = [f"{harmless(label)} {probabilities[label]:.1%}" for label in others[: _MAX_SHOWN_LABELS - 1]]
    if len(others) > len(rest):
        rest.append(f"and {len(others) - len(rest)} more")
    tail = f"   ({', '.join(rest)})\n"
    if record.get("abstained"):
        return [("  abstains: ", "bold yellow"), (f"{harmless(best)} {probabilities[best]:.1%}", "bold"), (tail, "dim")]
    return [("  " + harmless(best), "bold green"), (f" {probabilities[best]:.1%}", "bold"), (tail, "dim")]


def harmless(text: str) -> str:
    """`text` without control characters (but line breaks and tabs), so that it can't steer a terminal."""
    return "".join("�" if _is_control(character) else character for character in text)


def _is_control(character: str) -> bool:
    return (character < " " and character not in "\n\t") or "\x7f" <= character <= "\x9f"
