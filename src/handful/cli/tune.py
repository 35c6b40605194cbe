"""`handful tune`: a better wording, example set, order or reading of a task, found on labelled rows."""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.eval_options import (
    EncoderOption,
    LabelColumnOption,
    LabelNamesOption,
    PromptEpochsOption,
    TextColumnOption,
    encoder_name,
    open_encoder,
    prompt_epochs,
    provided,
)
from handful.cli.option_groups import grouped
from handful.cli.remote import TokenOption
from handful.cli.run_options import DeviceOption, ModelOption, PrecisionOption, QuietOption

if TYPE_CHECKING:
    from handful.backend import Backend
    from handful.evals.sets import Data
    from handful.evals.tune import Search, Step
    from handful.evals.tune_cost import Cost
    from handful.evals.tune_space import Space
    from handful.learn.tuned import Progress as Steps
    from handful.task.task import Task

TaskArgument = Annotated[Path, typer.Argument(metavar="TASK", help="A task file, such as examples/sentiment.yaml.")]
DataOption = Annotated[
    Path, typer.Option("--data", "-d", help="Labelled rows: CSV, TSV, JSONL, JSON, Parquet, or a saved data set.")
]
TrainOption = Annotated[
    Path | None, typer.Option(help="Rows that examples are drawn from. Else a part of --data is set aside for them.")
]
VariantOption = Annotated[
    list[str] | None, typer.Option(help="Another wording of the task, as a task file; may be repeated.")
]
WordsOption = Annotated[
    list[str] | None, typer.Option(help="Other label words: positive=great,negative=awful; may be repeated.")
]
ShotsOption = Annotated[
    str | None, typer.Option(help="Sizes of example sets to draw: 0,4,8. Left out: as many as the task has, or 4.")
]
PredictorOption = Annotated[
    str | None,
    typer.Option(
        help="Readings to try: task,plain,contextual,domain (the default) and generate stay in the task file; batch, "
        "channel, knn, nearest, encoder, centroid, logistic, auto, tuned ... make a folder."
    ),
]
SetsOption = Annotated[int, typer.Option(min=1, max=1000, help="Example sets drawn of each size.")]
OrdersOption = Annotated[int, typer.Option(min=1, max=100, help="Orders that each example set is shown in.")]
CandidatesOption = Annotated[int, typer.Option(min=2, max=10_000, help="Most candidates, drawn from all there are.")]
LimitOption = Annotated[int | None, typer.Option(min=10, help="Use only so many queries, drawn at random once.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Which examples and candidates are drawn.")]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The task file or folder to write; by default NAME-tuned.yaml or NAME-tuned."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print calls, tokens and time, and stop.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The result as one JSON object (schema 1).")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """What was asked for on the command line."""

    data: DataOption
    train: TrainOption = None
    variant: VariantOption = None
    words: WordsOption = None
    predictor: PredictorOption = None
    encoder: EncoderOption = None
    prompt_epochs: PromptEpochsOption = None
    shots: ShotsOption = None
    sets: SetsOption = 4
    orders: OrdersOption = 2
    candidates: CandidatesOption = 32
    seed: SeedOption = 0
    limit: LimitOption = None
    text_column: TextColumnOption = None
    label_column: LabelColumnOption = None
    label_names: LabelNamesOption = None
    model: ModelOption = None
    token: TokenOption = None
    precision: PrecisionOption = None
    device: DeviceOption = None
    output: OutputOption = None
    dry_run: DryRunOption = False
    json: JsonOption = False
    quiet: QuietOption = False


@grouped
def tune(task: TaskArgument, *, asked: TuneOptions) -> None:
    """Search wordings, label words, example sets, orders and readings; the best is written as a task file.

    What the search would cost, and the search:

        handful tune examples/sentiment.yaml --data reviews.csv --dry-run

        handful tune examples/sentiment.yaml --data reviews.csv --words positive=great,negative=awful --shots 4,8

    Readings that learn from labelled rows, too; then the best is written as a folder, which `run` and `serve` take:

        handful tune examples/sentiment.yaml --data reviews.csv --shots 8,32 --predictor task,knn,auto --output tuned

        handful run tuned "What a joy."

    To learn from all labelled rows without a search, see `handful fit`.

    All candidates are asked a few queries, the better half twice as many, and so on. Ctrl-C stops the search and keeps
    the best so far. A part of the rows has no part in choosing: what is worse there than the task as it is isn't kept.
    """
    from handful.evals.tune_space import Space
    from handful.task.task import Task

    own = Task.load(task)
    space = Space(
        templates=(own, *(Task.load(path) for path in asked.variant or [])),
        words=tuple(_words(text) for text in asked.words or []),
        shots=_shots(own, asked.shots),
        num_sets=asked.sets,
        num_orders=asked.orders,
        predictors=_predictors(own, asked.predictor),
        most=asked.candidates,
        seed=asked.seed,
    )
    tune_task(space, asked)


def tune_task(space: "Space", asked: TuneOptions) -> None:
    """Search, check, tell and save; with --dry-run only say what that costs."""
    from handful.cli.tune_result import Tuned, output_of, save_kept, tell_as_json, tell_people
    from handful.evals.tune import Search
    from handful.evals.tune_cost import cost_of
    from handful.evals.tune_space import candidates

    path = output_of(space, asked.output)
    epochs = prompt_epochs(space.readings, asked.prompt_epochs, [_model_name(space.templates[0], asked)])
    data = _data(space, asked)
    tried = candidates(space, data.pool)
    name = encoder_name(space.readings, asked.encoder)
    encoder = open_encoder(None if asked.dry_run else name, asked.device)
    with contextlib.closing(_backend(space.templates[0], asked)) as backend:
        search = Search(tried, data.queries, backend, provided(encoder, epochs))
        cost = cost_of(search, tried, data.queries, backend)
        if asked.dry_run:
            return _tell_cost(cost, asked)
        _say(asked, cost.lines())
        was_stopped = _run(search, asked)
        checked = search.check()
        kept = checked[1] if checked[1].accuracy >= checked[0].accuracy else checked[0]
        save_kept(search, kept, space, path)
    tell = tell_as_json if asked.json else tell_people
    tell(Tuned(search, checked, kept, path, was_stopped))
    return None


def _run(search: "Search", asked: TuneOptions) -> bool:
    """Search to the end or until Ctrl-C; whether it was stopped."""
    from handful.cli.output import tell

    try:
        with _progress(is_wanted=not asked.quiet and sys.stderr.isatty()) as (show, advance):
            search.provided = dataclasses.replace(search.provided, advance=advance)
            for step in search.run():
                show(step)
    except KeyboardInterrupt:
        if not search.best.right:
            raise
        tell("stopped: the best so far is checked and kept; Ctrl-C again to leave it.")
        return True
    return False


def _words(text: str) -> dict[str, str]:
    """Label words as typed. Raises InvalidParameterError."""
    from handful.errors import InvalidParameterError

    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(sign and label.strip() and word.strip() for label, sign, word in pairs):
        raise InvalidParameterError("--words", f"can't be {text!r}.", fix="Write positive=great,negative=awful.")
    return {label.strip(): word.strip() for label, _, word in pairs}


def _predictors(task: "Task", text: str | None) -> tuple[str, ...] | None:
    from handful.cli.eval_options import listed
    from handful.evals.askers import check_predictors

    if text is None:
        return None
    predictors = listed("--predictor", text, str)
    check_predictors(predictors, task)
    return predictors


def _shots(task: "Task", text: str | None) -> tuple[int, ...]:
    from handful.cli.eval_options import listed
    from handful.errors import InvalidParameterError

    if text is None:
        return (len(task.examples) or 4,)
    shots = listed("--shots", text, int)
    if min(shots) < 0:
        raise InvalidParameterError("--shots", f"holds {min(shots)}; numbers of examples are from 0.")
    return shots


def _data(space: "Space", asked: TuneOptions) -> "Data":
    from handful.cli.eval_options import columns_of
    from handful.evals.sets import Source, load_data

    source = Source(
        data=asked.data,
        train=asked.train,
        columns=columns_of(asked.text_column, asked.label_column, asked.label_names),
        max_shots=max(space.shots),
        limit=asked.limit,
    )
    return load_data(source, space.templates[0])


def _backend(task: "Task", asked: TuneOptions) -> "Backend":
    from handful.cli.run import open_backend

    name = _model_name(task, asked)
    _say(asked, [f"loading {name} ..."])
    return open_backend(name, precision=asked.precision, device=asked.device, token=asked.token)


def _model_name(task: "Task", asked: TuneOptions) -> str:
    from handful.config import settings

    return asked.model or task.model or settings().model


def _say(asked: TuneOptions, lines: list[str]) -> None:
    from handful.cli.output import tell

    if not asked.quiet and sys.stderr.isatty():
        for line in lines:
            tell(line)


def _tell_cost(cost: "Cost", asked: TuneOptions) -> None:
    from handful.cli.output import SCHEMA, json_line

    if asked.json:
        sys.stdout.write(json_line({"schema": SCHEMA} | cost.to_dict()))
        return
    for line in cost.lines():
        print(line)


@contextlib.contextmanager
def _progress(*, is_wanted: bool) -> "Iterator[tuple[Callable[[Step], None], Steps]]":
    """Gives the function that is told each step, and the one for those of tuning prompts; a bar with the best so far on
    a terminal's standard error."""
    from handful.cli.eval_progress import ignore_steps, steps_of_tuning

    if not is_wanted:
        yield lambda _: None, ignore_steps
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from handful.cli.tune_result import described_standing

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[best]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bars:
        bar = bars.add_task("queries", total=None, best="")

        def show(step: "Step") -> None:
            best = f"best {described_standing(step.best)}"
            bars.update(bar, completed=step.num_asked, total=step.num_planned, best=best)

        yield show, steps_of_tuning(bars, best="tuning prompts")
