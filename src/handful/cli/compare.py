"""`handful compare`: two evaluations over the same queries, with intervals and the answers that changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.eval_options import JsonOption

if TYPE_CHECKING:
    from handful.evals.compare import Change, Comparison

FirstArgument = Annotated[Path, typer.Argument(metavar="FIRST", help="A folder that `handful eval` wrote.")]
SecondArgument = Annotated[Path, typer.Argument(metavar="SECOND", help="Another one.")]
ChangesOption = Annotated[int, typer.Option(min=0, help="How many of the answers that changed are shown.")]


def compare(
    first: FirstArgument, second: SecondArgument, *, changes: ChangesOption = 10, json: JsonOption = False
) -> None:
    """Compare two evaluations: the difference with its interval, and the answers that changed.

    Two folders that `handful eval` wrote:

        handful compare before after

    Settings that both have are paired (the same predictor, number of examples ...); where each run has one model,
    predictor or wording and it is another, that is what is compared. With --json all changed answers are listed.
    """
    from handful.cli.output import harmless
    from handful.evals.compare import compare as compare_runs
    from handful.evals.compare import comparison_json, comparison_table
    from handful.evals.journal import read_run
    from handful.evals.tables import text_of

    found = compare_runs(read_run(first), read_run(second))
    if json:
        print(comparison_json(found), flush=True)
        return
    print(harmless(text_of(comparison_table(found))), end="")
    for one in found:
        _print_changes(one, changes)


def _print_changes(one: "Comparison", most: int) -> None:
    from handful.cli.output import harmless

    shown = sorted(one.changes, key=lambda change: -abs(change.second_score - change.first_score))[:most]
    if shown:
        where = ", ".join(f"{name} {value}" for name, value in one.series.items())
        print(harmless(f"\n{where}: {len(shown)} of {len(one.changes)} changed answers"))
    for change in shown:
        print(harmless(_line(change)))


def _line(change: "Change") -> str:
    sign = "+" if change.second_score > change.first_score else "-"
    given = change.input if isinstance(change.input, str) else ", ".join(f"{k}: {v}" for k, v in change.input.items())
    return f"{sign} {' '.join(given.split())[:100]}  [{change.expected}]  {change.first!r} -> {change.second!r}"
