"""The options of `handful run`; some of them are other commands', too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from handful.cli.inputs import Format
from handful.cli.remote import TokenOption
from handful.types import Calibration, Device, Precision

TextsArgument = Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="The texts to predict.")]
InputOption = Annotated[
    Path | None, typer.Option("--input", "-i", help="A txt, CSV, TSV or JSONL file; - is standard input.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write there: CSV if it ends in .csv, else JSONL. Continues.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="A name, Hub id, folder, .gguf file, or URL of a served one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line (schema 1).")]
PrecisionOption = Annotated[
    Precision | None, typer.Option(help="float32 is exact; auto takes the fastest that is safe.")
]
DeviceOption = Annotated[Device | None, typer.Option(help="auto takes a GPU when there is one.")]
ColumnOption = Annotated[str | None, typer.Option(help="The column or JSON key that holds the text.")]
FormatOption = Annotated[Format | None, typer.Option("--format", help="How to read the input, whatever its name.")]
CalibrationOption = Annotated[
    Calibration | None, typer.Option(help="auto is the default; none reads the labels as the model gives them.")
]
BatchOption = Annotated[int, typer.Option(min=1, max=4096, help="Rows computed together, and written together.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Start --output afresh.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks, only errors.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What was asked for on the command line, beside the task."""

    texts: TextsArgument = None
    input: InputOption = None
    output: OutputOption = None
    model: ModelOption = None
    token: TokenOption = None
    json: JsonOption = False
    precision: PrecisionOption = None
    device: DeviceOption = None
    column: ColumnOption = None
    format: FormatOption = None
    calibration: CalibrationOption = None
    batch_size: BatchOption = 64
    overwrite: OverwriteOption = False
    quiet: QuietOption = False

    @property
    def input_path(self) -> Path | None:
        """The file that is read; None for standard input and for texts as arguments."""
        return None if self.input is None or str(self.input) == "-" else self.input


def check_options(asked: RunOptions) -> None:
    """Raise WrongUsageError for options that exclude each other, InvalidParameterError for an output that is read."""
    from handful.cli.usage import WrongUsageError
    from handful.errors import InvalidParameterError

    if asked.texts and asked.input is not None:
        raise WrongUsageError("--input", "and texts as arguments exclude each other.")
    for option, value in (("--column", asked.column), ("--format", asked.format)):
        if asked.texts and value is not None:
            raise WrongUsageError(option, "is for files, not for texts as arguments.")
    source, target = asked.input_path, asked.output
    if source is not None and target is not None and source.exists() and target.exists() and source.samefile(target):
        raise InvalidParameterError("--output", "is the input itself.", fix="Choose another file.")
    if asked.overwrite and asked.output is None:
        raise WrongUsageError("--overwrite", "needs --output.")
    if asked.json and asked.output is not None and asked.output.suffix.lower() == ".csv":
        fix = "Name a .jsonl file, or leave --json out."
        raise WrongUsageError("--json", "and an --output that ends in .csv exclude each other.", fix=fix)
