"""Questions about a table: TAPAS picks cells and says how they are put together."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from handful.errors import CheckpointError, InvalidInputError, PromptTooLongError
from handful.nlp_types import TableAnswer, TableOptions, TableQuestion
from handful.pipelines.network import Network, too_long

_SEGMENT, _COLUMN, _ROW, _PREVIOUS = 0, 1, 2, 3  # places in TAPAS's seven kinds of token types
_CHOSEN = 0.5
_FIX = "Send a smaller table, or set `truncation` to true to shorten its cells and rows."
Cells = dict[tuple[int, int], float]


def require_pandas(name: str) -> None:
    """Transformers' tokenizer for tables wants them as pandas has them. CheckpointError where it is missing."""
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise CheckpointError(
            f"{name} reads tables through pandas, which isn't installed.",
            fix="Install it: pip install 'handful[transformers]'",
        ) from None


@torch.inference_mode()
def table_question_answering(
    network: Network, items: Sequence[TableQuestion], options: TableOptions
) -> list[TableAnswer]:
    """See `NlpModel.table_question_answering`."""
    if not items:
        raise InvalidInputError("The list of inputs is empty.", fix="Send at least one question.")
    answers: list[TableAnswer] = []
    before: TableQuestion | None = None
    chosen: Cells = {}
    for item in items:
        follows = options.sequential and before is not None and before.table == item.table
        inputs = _inputs(network, item, options)
        if follows:
            _mark_previous(inputs, chosen)
        outputs = network.model(**{name: tensor.to(network.device) for name, tensor in inputs.items()})
        chosen = _cells(inputs, outputs.logits)
        answers.append(_answer(item.table, chosen, _aggregator(network, outputs)))
        before = item
    return answers


def _inputs(network: Network, item: TableQuestion, options: TableOptions) -> dict[str, Tensor]:
    """TAPAS's inputs `[1, tokens]` and `[1, tokens, 7]`; cells and rows cut where that was asked for."""
    import pandas

    num_rows = _num_rows(network, item, options)
    table = pandas.DataFrame({name: list(cells[:num_rows]) for name, cells in item.table.items()}, dtype=object)
    truncation: Any = "drop_rows_to_fit" if options.truncation else "do_not_truncate"
    encoded = network.tokenizer(
        table=table,
        queries=item.query,
        truncation=truncation,
        max_length=network.max_tokens if options.truncation else None,
        return_tensors="pt",
        verbose=False,
    )
    if (num_tokens := encoded["input_ids"].shape[1]) > network.max_tokens:
        raise too_long(network.name, num_tokens, network.max_tokens, _FIX)
    return {name: encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")}


def _num_rows(network: Network, item: TableQuestion, options: TableOptions) -> int:
    """The rows that the model has numbers for; PromptTooLongError for more, unless the last may be left out."""
    sizes = network.model.config.type_vocab_sizes
    num_rows, num_columns = len(next(iter(item.table.values()))), len(item.table)
    if num_columns >= sizes[_COLUMN]:
        message = f"The table has {num_columns} columns, and {network.name} takes at most {sizes[_COLUMN] - 1}."
        raise PromptTooLongError(message, fix="Send the columns that matter.")
    if num_rows >= sizes[_ROW] and not options.truncation:
        message = f"The table has {num_rows} rows, and {network.name} takes at most {sizes[_ROW] - 1}."
        raise PromptTooLongError(message, fix=_FIX)
    return min(num_rows, int(sizes[_ROW]) - 1)


def _cell_of(types: Sequence[int]) -> tuple[int, int] | None:
    """The (row, column) of a token's cell; None for the question's and the header's tokens."""
    if types[_SEGMENT] != 1 or types[_ROW] == 0 or types[_COLUMN] == 0:
        return None
    return types[_ROW] - 1, types[_COLUMN] - 1


def _mark_previous(inputs: dict[str, Tensor], chosen: Cells) -> None:
    """Tell the model which cells answered the question before."""
    types = inputs["token_type_ids"][0]
    for position, row in enumerate(types.tolist()):
        cell = _cell_of(row)
        types[position, _PREVIOUS] = int(cell is not None and chosen.get(cell, 0.0) > _CHOSEN)


def _cells(inputs: dict[str, Tensor], logits: Tensor) -> Cells:
    """How probable each cell is: the mean over its tokens."""
    found: dict[tuple[int, int], list[float]] = {}
    probabilities = torch.sigmoid(logits[0].float()).tolist()
    for types, probability in zip(inputs["token_type_ids"][0].tolist(), probabilities, strict=True):
        if (cell := _cell_of(types)) is not None:
            found.setdefault(cell, []).append(probability)
    return {cell: sum(values) / len(values) for cell, values in found.items()}


def _aggregator(network: Network, outputs: Any) -> str | None:
    """What is done with the cells, as the model calls it; None for a model that only picks them."""
    if not network.model.config.num_aggregation_labels:
        return None
    index = int(outputs.logits_aggregation[0].argmax())
    labels = network.model.config.aggregation_labels or {}
    return str(labels.get(index, labels.get(str(index), index)))


def _answer(table: Mapping[str, tuple[str, ...]], chosen: Cells, aggregator: str | None) -> TableAnswer:
    places = tuple(sorted(cell for cell, probability in chosen.items() if probability > _CHOSEN))
    columns = list(table.values())
    cells = tuple(columns[column][row] for row, column in places)
    before = "" if aggregator in (None, "NONE") else f"{aggregator} > "
    return TableAnswer(before + ", ".join(cells), places, cells, aggregator)
