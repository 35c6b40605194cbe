"""`handful distill`: a few-shot prompt labels texts, and a cheap classifier learns from them."""

import contextlib
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from handful.cli.eval_options import LabelNamesOption
from handful.cli.option_groups import grouped
from handful.cli.remote import TokenOption
from handful.cli.run_options import ColumnOption, DeviceOption, FormatOption, ModelOption, PrecisionOption, QuietOption

if TYPE_CHECKING:
    from handful.backend import Backend
    from handful.cli.inputs import Row
    from handful.cli.output import Record
    from handful.learn.distil import Distilled, DistilSettings, Labelled
    from handful.learn.distil_report import DistilReport
    from handful.learn.encoded import NamedEncoder
    from handful.task.inputs import Input
    from handful.task.task import Task

TaskArgument = Annotated[Path, typer.Argument(metavar="TASK", help="A task file with labels, and examples.")]
UnlabelledOption = Annotated[
    Path, typer.Option("--unlabelled", "-u", help="A txt, CSV, TSV or JSONL file of texts like those to come.")
]
LabelledOption = Annotated[
    Path | None, typer.Option("--labelled", help="Rows with the right labels: what is lost and gained in accuracy.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="The classifier's folder; by default TASK's name. Continues.")
]
ConfidenceOption = Annotated[
    float, typer.Option(min=0.0, max=0.999, help="Learn from texts that the prompt is at least so sure of.")
]
HeadOption = Annotated[Literal["logistic", "centroid"], typer.Option("--head", help="What is fitted.")]
BehindOption = Annotated[
    Literal["query", "prompt"] | None,
    typer.Option("--behind", help="Read hidden states behind the query alone (the default), or the few-shot prompt."),
]
EncoderOption = Annotated[
    str | None,
    typer.Option("--encoder", help="Read an encoder's vectors instead, such as default-embeddings: no model is asked."),
]
EncoderStepsOption = Annotated[
    int,
    typer.Option(
        "--encoder-steps", min=0, max=100_000, help="Tune the encoder on the labelled texts for so many steps, say 40."
    ),
]
EvenlyOption = Annotated[
    bool,
    typer.Option("--evenly", help="The labels are about equally frequent in the texts: correct the prompt by that."),
]
LabelColumnOption = Annotated[str | None, typer.Option(help="The column of --labelled with the right labels.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Label the texts again.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The figures as one JSON object (schema 1).")]

_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillOptions:
    """What was asked for on the command line."""

    unlabelled: UnlabelledOption
    labelled: LabelledOption = None
    output: OutputOption = None
    confidence: ConfidenceOption = 0.9
    head: HeadOption = "logistic"
    behind: BehindOption = None
    encoder: EncoderOption = None
    encoder_steps: EncoderStepsOption = 0
    evenly: EvenlyOption = False
    model: ModelOption = None
    token: TokenOption = None
    precision: PrecisionOption = None
    device: DeviceOption = None
    column: ColumnOption = None
    input_format: FormatOption = None
    label_column: LabelColumnOption = None
    label_names: LabelNamesOption = None
    overwrite: OverwriteOption = False
    json: JsonOption = False
    quiet: QuietOption = False


@grouped
def distill(task: TaskArgument, *, asked: DistillOptions) -> None:
    """Make a cheap classifier of a task: the prompt labels texts, a head on the model's hidden state learns them.

    For texts without labels; with labels, see `handful fit`.

        handful distill examples/sentiment.yaml --unlabelled reviews.txt --output sentiment

        handful serve --task sentiment=sentiment

    It tells how often the two agree on texts that were set aside, how many queries a second each answers, and with
    --labelled how right each is. If the labelling is interrupted, the same command continues.
    """
    from handful.cli.usage import WrongUsageError
    from handful.learn.distil import DistilSettings

    if asked.encoder is not None and asked.behind is not None:
        raise WrongUsageError("--behind", "is for hidden states, not for an encoder.", fix="Leave one out.")
    if asked.encoder_steps and asked.encoder is None:
        raise WrongUsageError("--encoder-steps", "needs --encoder.", fix="Add --encoder default-embeddings.")
    settings = DistilSettings(
        confidence=asked.confidence,
        head=asked.head,
        behind=asked.behind or "query",
        evenly=asked.evenly,
        encoder_steps=asked.encoder_steps,
    )
    distill_task(task, asked, settings)


def distill_task(path: Path, asked: DistillOptions, settings: "DistilSettings") -> None:
    """Label, learn, tell and save."""
    from handful.cli.dropped import tell_of_dropped
    from handful.cli.run import open_backend
    from handful.errors import TaskError
    from handful.learn.distil import distil
    from handful.learn.distil_report import report_on
    from handful.learn.progress import show_steps
    from handful.learn.saved import LABELS_FILE
    from handful.task.task import Task

    task = Task.load(path)
    if not task.is_closed:
        raise TaskError(f"The task `{task.name}` has no labels to learn.", fix="Give it `labels`.")
    truth = _truth(task, asked)
    folder = asked.output or Path(task.name)
    name = _model_name(task, asked)
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(_open(asked.unlabelled))
        rows = _rows(task, asked, stream)
        _say(asked, f"loading {name} ...")
        backend = open_backend(name, precision=asked.precision, device=asked.device, token=asked.token)
        stack.callback(backend.close)
        _label(task, backend, asked, folder, (rows, stream))
        labelled, num_errors = read_labelled(folder / LABELS_FILE, task)
        is_watched = bool(settings.encoder_steps) and not asked.quiet and sys.stderr.isatty()
        advance = stack.enter_context(show_steps("tuning the encoder", is_wanted=is_watched))
        stack.enter_context(tell_of_dropped(is_quiet=asked.quiet))
        encoder = _encoder(asked)
        with _telling_where_labels_are(folder / LABELS_FILE, labelled):
            distilled = distil(task, backend, labelled, settings, encoder, advance)
        report = report_on(distilled, len(labelled.inputs), num_errors, truth)
        _save(task, folder, distilled)
    _tell(task, folder, asked, report)


@contextlib.contextmanager
def _telling_where_labels_are(path: Path, labelled: "Labelled") -> Iterator[None]:
    """Where nothing can be learned of the labels, say that they needn't be asked for again."""
    from handful.errors import InvalidInputError

    try:
        yield
    except InvalidInputError as error:
        if labelled.inputs:
            kept = f"The labels are kept in {path}: the same command with a lower --confidence goes on from them, and"
            error.fix = f"{error.fix} {kept} other texts or examples need --overwrite.".strip()
        raise


def _encoder(asked: DistillOptions) -> "NamedEncoder | None":
    from handful.local.encoder import load_encoder

    return None if asked.encoder is None else load_encoder(asked.encoder, device=asked.device)


def _save(task: "Task", folder: Path, distilled: "Distilled") -> None:
    import numpy as np

    from handful.learn import encoded, saved

    if isinstance(distilled.student, encoded.EncodedPredictor):
        return encoded.save_encoded(folder, distilled.student, distilled.choice)
    parameters = {
        "input": task.input,
        "output": task.output,
        "description": task.description,
        "separator": task.separator,
    }
    return saved.save(folder, saved.Saved(parameters, np.array(task.labels), distilled.student, distilled.choice))


def _label(
    task: "Task",
    backend: "Backend",
    asked: DistillOptions,
    folder: Path,
    source: "tuple[Iterator[Row], BinaryIO]",
) -> None:
    """Write what the task's prompt says of every row beside the classifier, or go on where that was interrupted."""
    from handful.cli.output import tell
    from handful.cli.progress import show_progress
    from handful.cli.record_formats import JsonLines
    from handful.cli.records import Identity, RecordFile
    from handful.cli.run_loop import Tally, answer_rows, input_identity, skip_finished
    from handful.config import settings
    from handful.learn.saved import LABELS_FILE

    rows, stream = source
    folder.mkdir(parents=True, exist_ok=True)
    identity = Identity(
        task=task.name,
        task_fingerprint=task.fingerprint,
        model=_model_name(task, asked),
        precision=asked.precision or settings().precision,
        input=input_identity([], asked.unlabelled),
    )
    tally = Tally()
    with RecordFile(folder / LABELS_FILE, JsonLines(), identity, overwrite=asked.overwrite) as records:
        skip_finished(records, rows, tally)
        if tally.num_records:
            _say(asked, f"{folder / LABELS_FILE}: {tally.num_records} texts are labelled already.")
        try:
            with show_progress(stream, is_wanted=not asked.quiet and sys.stderr.isatty()) as advance:
                for batch in answer_rows(task, backend, rows, _BATCH_SIZE):
                    records.append(batch)
                    advance(len(batch))
        except KeyboardInterrupt:
            tell("interrupted: the labels so far are kept; the same command continues.")
            raise


def read_labelled(path: Path, task: "Task") -> "tuple[Labelled, int]":
    """The texts and their label probabilities, and how many rows couldn't be answered."""
    import json

    import numpy as np

    from handful.learn.distil import Labelled

    with path.open(encoding="utf-8") as lines:
        records: list[Record] = [json.loads(line) for line in lines]
    good = [record for record in records if "error" not in record]
    rows = [[record["probabilities"][label] for label in task.labels] for record in good]
    probabilities = np.array(rows, dtype=np.float64).reshape(-1, len(task.labels))
    return Labelled([record["input"] for record in good], probabilities), len(records) - len(good)


def _truth(task: "Task", asked: DistillOptions) -> "tuple[list[Input], list[str]] | None":
    """The inputs of --labelled and their right labels."""
    from handful.cli.eval_options import columns_of
    from handful.cli.usage import WrongUsageError
    from handful.evals.data import read_items

    if asked.labelled is None:
        for option, value in (("--label-column", asked.label_column), ("--label-names", asked.label_names)):
            if value is not None:
                raise WrongUsageError(option, "needs --labelled.")
        return None
    items = read_items(asked.labelled, task, columns_of(asked.column, asked.label_column, asked.label_names))
    return [item.inputs for item in items], [item.expected for item in items]


def _rows(task: "Task", asked: DistillOptions, stream: BinaryIO) -> "Iterator[Row]":
    """The rows, at least one of them."""
    from handful.cli.inputs import choose_format, read_rows
    from handful.errors import InvalidInputError

    kind = choose_format(asked.unlabelled, asked.input_format, task.variables)
    rows = read_rows(stream, kind, task.variables, asked.column)
    first = next(rows, None)
    if first is None:
        raise InvalidInputError(f"{asked.unlabelled} has no text.", fix="Give texts like those to come.")
    return itertools.chain([first], rows)


def _open(path: Path) -> BinaryIO:
    from handful.errors import NotFoundError

    try:
        return path.open("rb")
    except OSError as error:
        raise NotFoundError(f"The texts in {path} can't be read: {error.strerror}.") from None


def _model_name(task: "Task", asked: DistillOptions) -> str:
    from handful.config import settings

    return asked.model or task.model or settings().model


def _say(asked: DistillOptions, line: str) -> None:
    from handful.cli.output import tell

    if not asked.quiet and sys.stderr.isatty():
        tell(line)


def _tell(task: "Task", folder: Path, asked: DistillOptions, report: "DistilReport") -> None:
    from handful.cli.output import SCHEMA, harmless, json_line

    if asked.json:
        told = {"schema": SCHEMA, "task": task.name, "folder": str(folder)} | report.to_dict()
        sys.stdout.write(json_line(told))
        return
    served = f"{folder}: the classifier. Serve it with: handful serve --task {task.name}={folder}"
    for line in (*report.lines(), served):
        print(harmless(line))
