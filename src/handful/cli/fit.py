"""`handful fit`: labelled texts teach a task's prompts; what comes out is a classifier that is run and served."""

import contextlib
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.eval_options import LabelColumnOption, LabelNamesOption, TextColumnOption, open_encoder
from handful.cli.option_groups import grouped
from handful.cli.remote import TokenOption
from handful.cli.run_options import DeviceOption, ModelOption, PrecisionOption, QuietOption

if TYPE_CHECKING:
    from handful.learn.auto_settings import AutoSettings
    from handful.learn.choice import Choice
    from handful.task.task import Task

TaskArgument = Annotated[Path, typer.Argument(metavar="TASK", help="A task file with labels.")]
DataOption = Annotated[
    Path, typer.Option("--data", "-d", help="Labelled rows: CSV, TSV, JSONL, JSON, Parquet, or a saved data set.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="The classifier's folder; by default TASK's name. Replaced.")
]
PromptEpochsOption = Annotated[
    int | None,
    typer.Option(
        "--prompt-epochs",
        min=1,
        max=1000,
        help="Tune prompts, too, reading each text so many times: 5 is good. From 32 texts a label; minutes.",
    ),
]
EncoderOption = Annotated[
    str | None, typer.Option("--encoder", help="Try an encoder's vectors beside the model, such as default-embeddings.")
]
EncoderStepsOption = Annotated[
    int | None,
    typer.Option("--encoder-steps", min=1, max=100_000, help="Tune the encoder, too, for so many steps, say 40."),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Which texts the prompts show, and how the others are parted.")]
JsonOption = Annotated[bool, typer.Option("--json", help="What was chosen as one JSON object (schema 1).")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """What was asked for on the command line."""

    data: DataOption
    output: OutputOption = None
    prompt_epochs: PromptEpochsOption = None
    encoder: EncoderOption = None
    encoder_steps: EncoderStepsOption = None
    seed: SeedOption = 0
    model: ModelOption = None
    token: TokenOption = None
    precision: PrecisionOption = None
    device: DeviceOption = None
    text_column: TextColumnOption = None
    label_column: LabelColumnOption = None
    label_names: LabelNamesOption = None
    json: JsonOption = False
    quiet: QuietOption = False


@grouped
def fit(task: TaskArgument, *, asked: FitOptions) -> None:
    """Make a classifier of labelled texts: the best reading of a task, chosen on texts that were held out.

    It is a folder, which is answered from and served like a task file:

        handful fit examples/sentiment.yaml --data reviews.csv --output sentiment

        handful run sentiment "What a joy."

        handful serve --task sentiment=sentiment

    The texts are dealt into prompts, and those that a prompt doesn't show teach heads on the model's hidden states. All
    rows are learned from, and the task's own examples, too. It says how right to expect the classifier to be.

    From 32 texts of every label on, the prompts themselves can be tuned:

        handful fit examples/sentiment.yaml --data reviews.csv --output sentiment --prompt-epochs 5

    That takes minutes, and gigabytes of memory meanwhile. With the default model and 64 reviews a label of SST-2: 225 s
    on two threads, and 89.1% right instead of 87.2%. A query gets cheaper: three passes through the model, not eight.
    Tuned prompts are kept only where they say more of texts that they never saw.
    """
    from handful.cli.remote import is_url
    from handful.cli.usage import WrongUsageError
    from handful.errors import InvalidParameterError, TaskError
    from handful.task.task import Task

    loaded = Task.load(task)
    if not loaded.is_closed:
        raise TaskError(f"The task `{loaded.name}` has no labels to tell apart.", fix="Give it `labels`.")
    if asked.encoder_steps is not None and asked.encoder is None:
        raise WrongUsageError("--encoder-steps", "needs --encoder.", fix="Add --encoder default-embeddings.")
    name = _model_name(loaded, asked)
    if asked.prompt_epochs is not None and is_url(name):
        problem = f"tunes a model in this process, and {name} is behind a URL."
        raise InvalidParameterError("--prompt-epochs", problem, fix="Name a --model to load here, or leave it out.")
    fit_task(loaded, asked, _folder(loaded, asked))


def fit_task(task: "Task", asked: FitOptions, folder: Path) -> None:
    """Read the rows, fit, save and tell. What can't be is told before a model is loaded."""
    import dataclasses

    from handful.cli.dropped import tell_of_dropped
    from handful.cli.run import open_backend
    from handful.learn.auto import fit_auto
    from handful.learn.auto_plan import plan_for
    from handful.learn.folder import save_ready
    from handful.learn.named import Ready
    from handful.learn.progress import show_steps
    from handful.learn.representation import classes_of

    task = _with_rows(task, asked)
    settings = _settings(asked)
    plan_for(classes_of([one.output for one in task.examples], task.labels), task.labels, settings)
    name = _model_name(task, asked)
    _say(asked, f"loading {name} ...")
    backend = open_backend(name, precision=asked.precision, device=asked.device, token=asked.token)
    with contextlib.closing(backend):
        _say(asked, f"reading {len(task.examples)} labelled texts ...")
        tuned = _tuned(asked)
        is_shown = bool(tuned) and not asked.quiet
        with tell_of_dropped(is_quiet=asked.quiet), show_steps(f"tuning {tuned}", is_wanted=is_shown) as advance:
            fitted, choice = fit_auto(task, backend, task.examples, dataclasses.replace(settings, advance=advance))
        save_ready(folder, Ready("auto", fitted, fitted.members[0].reader.task, choice), backend, choice.expected)
    _tell(task, folder, asked, choice)


def _with_rows(task: "Task", asked: FitOptions) -> "Task":
    """The task with its own examples and those of the rows, each once. Raises InvalidInputError naming the row."""
    from handful.cli.eval_options import columns_of
    from handful.cli.output import tell
    from handful.evals.data import read_items
    from handful.task.review import repetitions

    columns = columns_of(asked.text_column, asked.label_column, asked.label_names)
    rows = [item.example for item in read_items(asked.data, task, columns)]
    known = set(task.examples)
    made = task.with_examples([*task.examples, *(row for row in rows if row not in known)])
    twice = repetitions(made.examples)
    if twice and not asked.quiet:
        num_conflicts = sum(one.is_conflict for one in twice)
        first = " ".join(next(iter(made.examples[twice[0].first].inputs.values())).split())[:60]
        differ = f", {num_conflicts} of them with different labels" if num_conflicts else ""
        tell(f"warning: {len(twice)} texts are given twice{differ}, such as: {first}")
    return made


def _settings(asked: FitOptions) -> "AutoSettings":
    """How to choose and what to tune; an encoder is loaded where one is to be tried."""
    from handful.learn.auto_settings import AutoSettings
    from handful.learn.recipe import ENCODER_RECIPES, RECIPES
    from handful.types import EncoderTuning, PrefixTuning

    steps, epochs = asked.encoder_steps, asked.prompt_epochs
    encoder = open_encoder(asked.encoder, asked.device)
    return AutoSettings(
        recipes=RECIPES if encoder is None else (*RECIPES, *ENCODER_RECIPES),
        encoder=encoder,
        tuning=None if steps is None else EncoderTuning(num_steps=steps, seed=asked.seed),
        prompt_tuning=None if epochs is None else PrefixTuning(num_epochs=epochs, seed=asked.seed),
        seed=asked.seed,
    )


def _tuned(asked: FitOptions) -> str:
    """What is tuned, in words; empty where nothing is."""
    named = (("the encoder", asked.encoder_steps), ("prompts", asked.prompt_epochs))
    return " and ".join(name for name, count in named if count is not None)


def _folder(task: "Task", asked: FitOptions) -> Path:
    """Where the classifier goes. Raises InvalidParameterError for what minutes of work couldn't be written to."""
    from handful.errors import InvalidParameterError
    from handful.learn.saved import JSON_FILE

    folder = asked.output or Path(task.name)
    fix = "Name another folder with --output."
    if folder.is_file():
        raise InvalidParameterError("--output", f"names the file {folder}, and a classifier is a folder.", fix=fix)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / JSON_FILE).exists():
        problem = f"names {folder}, which holds {_content(folder)} and no classifier."
        raise InvalidParameterError("--output", problem, fix="Remove that, or name another folder with --output.")
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise InvalidParameterError("--output", f"can't be made: nothing can be written to {there}.", fix=fix)
    return folder


def _content(folder: Path) -> str:
    """What lies in a folder that `fit` didn't write, in words."""
    from handful.learn.saved import LABELS_FILE, is_unfinished

    if is_unfinished(folder):
        return f"{LABELS_FILE} of a `handful distill` that wasn't finished"
    first, *others = sorted(path.name for path in folder.iterdir())
    return f"{first} and {len(others)} more" if others else first


def _model_name(task: "Task", asked: FitOptions) -> str:
    from handful.config import settings

    return asked.model or task.model or settings().model


def _say(asked: FitOptions, line: str) -> None:
    from handful.cli.output import tell

    if not asked.quiet and sys.stderr.isatty():
        tell(line)


def _tell(task: "Task", folder: Path, asked: FitOptions, choice: "Choice") -> None:
    from handful.cli.output import SCHEMA, harmless, json_line
    from handful.learn.reading_names import TUNED

    counts = {label: sum(one.output == label for one in task.examples) for label in task.labels}
    if asked.json:
        chosen = {name: value for name, value in choice.to_dict().items() if name not in ("confidences", "is_right")}
        told = {"schema": SCHEMA, "task": task.name, "folder": str(folder), "num_learned": counts, "choice": chosen}
        sys.stdout.write(json_line(told))
        return
    lines = [f"learned from {len(task.examples)} texts: " + ", ".join(f"{n} {label}" for label, n in counts.items())]
    tried = [(one.accuracy, one.log_loss, one.recipe) for one in choice.verdicts if one.log_loss is not None]
    if tried:
        lines.append("right of held-out texts, their log loss, and the reading:")
        lines += [f"  {accuracy:6.1%}  {log_loss:.3f}  {recipe}" for accuracy, log_loss, recipe in tried]
    lines.append(f"chosen: {choice}")
    if asked.prompt_epochs is not None and choice.recipe != TUNED:
        lines.append("The tuned prompts are not kept: their log loss is no lower.")
    lines.append(f'{folder}: the classifier. Ask it with: handful run {shlex.quote(str(folder))} "a text"')
    lines.append(f"Serve it with: handful serve --task {shlex.quote(f'{task.name}={folder}')}")
    for line in lines:
        print(harmless(line))
