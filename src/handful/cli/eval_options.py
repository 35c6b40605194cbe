"""What `eval` and `sweep` share: their options' shapes, and lists and names as people type them."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from handful.types import Device, Precision

if TYPE_CHECKING:
    from handful.backend import Backend
    from handful.evals.data import Columns
    from handful.learn.encoded import NamedEncoder
    from handful.learn.named import Provided
    from handful.learn.tuned import Progress

TaskArgument = Annotated[
    str | None, typer.Argument(metavar="TASK", help="A task file, or a task YAML of lm-evaluation-harness.")
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", "-d", help="Labelled rows: CSV, TSV, JSONL, JSON, Parquet, or a saved data set's folder."),
]
TextColumnOption = Annotated[str | None, typer.Option(help="The column of the text; usual names are found.")]
LabelColumnOption = Annotated[str | None, typer.Option(help="The column of the right answer; usual names are found.")]
LabelNamesOption = Annotated[str | None, typer.Option(help="What the data calls the labels: 0=negative,1=positive.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="A folder for records, tables, figures and report. Continues.")
]
PrecisionOption = Annotated[
    Precision | None, typer.Option(help="float32 is exact; auto takes the fastest that is safe.")
]
DeviceOption = Annotated[Device | None, typer.Option(help="auto takes a GPU when there is one.")]
EncoderOption = Annotated[
    str | None, typer.Option(help="What `encoder` and `nearest by encoder` read; left out, default-embeddings.")
]
PromptEpochsOption = Annotated[
    int | None,
    typer.Option(
        "--prompt-epochs", min=1, max=1000, help="How often `tuned` reads each example, minutes of work; left out, 5."
    ),
]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Ask only so many queries, drawn at random once.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Start --output afresh.")]
FromOption = Annotated[
    Path | None, typer.Option("--from", help="Make tables, figures and report of a folder's records anew; no model.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="The summary as one JSON object (schema 1).")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks on standard error.")]

Value = TypeVar("Value")


def listed(option: str, text: str, read: Callable[[str], Value]) -> tuple[Value, ...]:
    """The values of a list with commas. Raises `InvalidParameterError` naming the one that can't be read."""
    from handful.errors import InvalidParameterError

    values: list[Value] = []
    for word in text.split(","):
        try:
            values.append(read(word.strip()))
        except ValueError:
            raise InvalidParameterError(option, f"holds {word.strip()!r}, which is no number.") from None
    if len(set(values)) < len(values):
        raise InvalidParameterError(option, f"names a value twice: {text}.")
    return tuple(values)


def columns_of(text: str | None, label: str | None, names: str | None) -> "Columns":
    """Where text and label stand, from the options. Raises `InvalidParameterError` for names without `=`."""
    from handful.errors import InvalidParameterError
    from handful.evals.data import Columns

    pairs = [pair.partition("=") for pair in names.split(",")] if names is not None else []
    for key, sign, label_name in pairs:
        if not sign or not key.strip() or not label_name.strip():
            raise InvalidParameterError("--label-names", f"can't be {names!r}.", fix="Write 0=negative,1=positive.")
    return Columns(text=text, label=label, names={key.strip(): name.strip() for key, _, name in pairs})


def opener(
    precision: Precision | None, device: Device | None, token: str | None, *, is_quiet: bool
) -> "Callable[[str], Backend]":
    """What opens a model by its name, and says so on a terminal, since it takes seconds."""
    from handful.cli.output import tell
    from handful.cli.run import open_backend

    def open_model(name: str) -> "Backend":
        if not is_quiet and sys.stderr.isatty():
            tell(f"loading {name} ...")
        return open_backend(name, precision=precision, device=device, token=token)

    return open_model


def encoder_name(readings: "Sequence[str]", given: str | None) -> str | None:
    """The encoder that the readings need; None where none does. Raises `InvalidParameterError` for one in vain."""
    from handful.errors import InvalidParameterError
    from handful.learn.reading_names import NEED_ENCODER
    from handful.task.problem import join_words

    if any(reading in NEED_ENCODER for reading in readings):
        return given or "default-embeddings"
    if given is not None:
        fix = f"Add {join_words(NEED_ENCODER)} to --predictor, or leave it out."
        raise InvalidParameterError("--encoder", "has no effect: no reading that is tried needs it.", fix=fix)
    return None


def prompt_epochs(readings: "Sequence[str]", given: int | None, models: "Sequence[str]") -> int | None:
    """How often `tuned` reads each example; None where it isn't tried. Raises `InvalidParameterError` for a number in
    vain, and for a model that can't be tuned because it is behind a URL."""
    from handful.cli.remote import is_url
    from handful.errors import InvalidParameterError
    from handful.learn.reading_names import TUNED
    from handful.types import PrefixTuning

    if TUNED not in readings:
        if given is not None:
            fix = f"Add {TUNED} to --predictor, or leave it out."
            raise InvalidParameterError("--prompt-epochs", "has no effect: no reading that is tried tunes.", fix=fix)
        return None
    if any(map(is_url, models)):
        problem = f"is behind a URL, and `{TUNED}` tunes the prompts of a model in this process."
        raise InvalidParameterError("--model", problem, fix=f"Name one to load here, or take {TUNED} out.")
    return given or PrefixTuning().num_epochs


def provided(encoder: "NamedEncoder | None", epochs: int | None, advance: "Progress | None" = None) -> "Provided":
    """What some readings need; `advance` is told the steps of tuning."""
    from handful.learn.named import NOTHING, Provided

    return Provided(encoder=encoder, prompt_epochs=epochs or NOTHING.prompt_epochs, advance=advance)


def open_encoder(name: str | None, device: Device | None) -> "NamedEncoder | None":
    """Load it, where there is one to load."""
    if name is None:
        return None
    from handful.local.encoder import load_encoder

    return load_encoder(name, device=device)


def required(option: str, value: Path | None, purpose: str) -> Path:
    """The option's value. Raises `WrongUsageError` where it wasn't given."""
    from handful.cli.usage import WrongUsageError

    if value is None:
        raise WrongUsageError(option, f"is missing: {purpose}.")
    return value


def refuse_with_from(context: typer.Context) -> None:
    """With --from nothing is asked of a model, so what only an evaluation needs is refused by name."""
    from handful.cli.usage import WrongUsageError

    allowed = {"from_folder", "json", "quiet", "fail_under"}
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in allowed and source is not None and source.name != "DEFAULT":
            option = "TASK" if name == "task" else "--" + name.replace("_", "-")
            raise WrongUsageError(option, "has no meaning with --from, which only reads records.")
