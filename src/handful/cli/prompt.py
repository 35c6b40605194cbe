"""`handful prompt`: the very text a model gets, and how many tokens it has. No weights are loaded."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handful.cli.remote import TokenOption

if TYPE_CHECKING:
    from handful.task.task import Task

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="A task file, such as examples/sentiment.yaml.")]
TextArgument = Annotated[str | None, typer.Argument(metavar="TEXT", help="The query; left out, {names} stand for it.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Whose tokens: a name, Hub id, folder, file or URL.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Prompt and counts as one JSON object.")]


def _nothing() -> None:
    """Close what needs no closing."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts a model's tokens. `context_length` is how many its prompt and answer may have together."""

    count: Callable[[str], int]
    context_length: int
    close: Callable[[], None] = _nothing


def prompt(
    task: TaskArgument,
    text: TextArgument = None,
    *,
    model: ModelOption = None,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """Show the prompt that a task makes of a text, with token counts.

    The prompt goes to standard output, the counts to standard error; --json puts both in one object.

        handful prompt examples/sentiment.yaml "What a joy."

    A task with several variables takes a JSON object:

        handful prompt examples/text-to-sql.yaml '{"schema": "films(title)", "question": "How many?"}'
    """
    from handful.cli.output import harmless, json_line
    from handful.config import settings
    from handful.task.task import Task

    loaded = Task.load(task)
    values = _values(loaded, text)
    name = model or loaded.model or settings().model
    counter = open_counter(name, token)
    try:
        shown = describe(loaded, values, counter)
    finally:
        counter.close()
    if json:
        sys.stdout.write(json_line(shown))
        return
    whole = shown["prompt"]
    print(harmless(whole) if sys.stdout.isatty() else whole)
    sys.stdout.flush()
    print(file=sys.stderr)  # where both streams are one terminal, the counts stand apart
    for key, meaning in _MEANINGS.items():
        print(f"{shown[key]:>7}  {meaning}", file=sys.stderr)


_MEANINGS = {
    "num_prefix_tokens": "tokens of description and examples, computed once and shared by every query",
    "num_query_tokens": "tokens of this query",
    "num_prompt_tokens": "tokens in all",
    "context_length": "tokens that the model's context holds, the answer included",
    "dropped_examples": "examples left out because they didn't fit",
}


def describe(task: "Task", values: dict[str, str], counter: Counter) -> dict[str, Any]:
    """The prompt that fits the model and its counts, as one record. Raises `PromptTooLongError`."""
    from handful.task.fit import Fitter
    from handful.task.predict import count_now
    from handful.task.render import query

    fit = count_now(Fitter(task, counter.context_length).fit(values), counter.count)
    prefix = fit.prompt[: len(fit.prompt) - len(query(task, values))]
    num_prefix_tokens = counter.count(prefix) if prefix else 0
    num_prompt_tokens = counter.count(fit.prompt)
    return {
        "task": task.name,
        "prompt": fit.prompt,
        "num_prefix_tokens": num_prefix_tokens,
        "num_query_tokens": num_prompt_tokens - num_prefix_tokens,
        "num_prompt_tokens": num_prompt_tokens,
        "context_length": counter.context_length,
        "dropped_examples": fit.num_dropped,
    }


def _values(task: "Task", text: str | None) -> dict[str, str]:
    """The query's values; without a text each variable stands for itself, as in the template."""
    from handful.cli.inputs import rows_from_texts
    from handful.errors import InvalidInputError
    from handful.task.inputs import values_of

    if text is None:
        return {name: f"{{{name}}}" for name in task.variables}
    row = next(rows_from_texts([text], task.variables))
    if row.problem:
        fix = "Give a JSON object of texts." if len(task.variables) > 1 else ""
        raise InvalidInputError(f"The text {row.problem}.", fix=fix)
    return values_of(task, row.given)


def open_counter(name: str, token: str | None = None) -> Counter:
    """The tokenizer and context length of a model, from its files alone, or from the server that has it."""
    from handful.cli.remote import is_url, open_remote, refuse_token
    from handful.config import settings
    from handful.model.checkpoint import read_config
    from handful.model.source import resolve
    from handful.model.tokenizer import Tokenizer

    if is_url(name):
        remote = open_remote(name, token)
        return Counter(remote.count_tokens, remote.info.context_length, remote.close)
    refuse_token(token)
    files = resolve(name, settings=settings())
    tokenizer = Tokenizer(files.folder)
    return Counter(lambda text: len(tokenizer.encode(text)), _context_length(read_config(files.folder)))


# What the configurations of models that handful's own decoder doesn't know call it.
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")


def _context_length(config: dict[str, Any]) -> int:
    from handful.errors import CheckpointError
    from handful.model.families import is_native, spec_from_config

    if is_native(config):
        return spec_from_config(config).context_length
    for key in _CONTEXT_KEYS:
        if isinstance(config.get(key), int):
            return int(config[key])
    raise CheckpointError("The model's config.json doesn't say how long its context is.")
