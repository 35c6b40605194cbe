"""Named entities: a label for every token, joined to words and groups.

A text that is longer than the model takes is read in windows where the options give a `stride`. Each token's label
is then read in the window that shows most of its surroundings, and grouping sees one run of tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handful.errors import InvalidParameterError
from handful.nlp_types import AggregationStrategy, TokenEntity, TokenOptions
from handful.pipelines.network import Inputs, Network, Row, check_texts

_FIX = "Shorten it, or set `stride` (the tokens that two windows share)."


@dataclass(frozen=True, slots=True)
class Labelled:
    """A token and the probabilities of its labels. `word` numbers the words; `[start, end)` are characters."""

    text: str
    probabilities: NDArray[np.float32]
    start: int
    end: int
    word: int | None
    index: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One or more tokens with one label."""

    label: str
    score: float
    tokens: tuple[Labelled, ...]


def token_classification(network: Network, texts: Sequence[str], options: TokenOptions) -> list[list[TokenEntity]]:
    """See `NlpModel.token_classification`."""
    check_texts(texts)
    network.require_places()
    windows = [_windows(network, text, options.stride) for text in texts]
    flat = [row for rows in windows for row in rows]
    probabilities = iter(_probabilities(network, flat))
    stride = options.stride or 0
    tokens = [_joined([_labelled(row, next(probabilities)) for row in rows], stride) for rows in windows]
    labels = {int(index): str(label) for index, label in network.model.config.id2label.items()}
    return [entities_of(found, labels, options, network.tokenizer.convert_tokens_to_string) for found in tokens]


def _windows(network: Network, text: str, stride: int | None) -> list[Row]:
    if stride is None:
        return network.rows([text], None, None, _FIX)
    room = network.max_tokens - network.tokenizer.num_special_tokens_to_add()
    if stride >= room:
        raise InvalidParameterError(
            "stride", f"must be less than the {room} tokens of a text that {network.name} takes."
        )
    return network.windows(text, None, "longest_first", network.max_tokens, stride)


def _probabilities(network: Network, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
    """Probabilities `[tokens, labels]` of each row."""

    def read(outputs: Any, inputs: Inputs) -> list[NDArray[np.float32]]:
        found = torch.softmax(outputs.logits.float(), dim=-1)
        used = inputs["attention_mask"].bool()
        return [found[row][used[row]].cpu().numpy() for row in range(len(found))]

    return network.outputs(rows, read)


def _labelled(row: Row, probabilities: NDArray[np.float32]) -> list[Labelled]:
    """The tokens of a window that stand for text."""
    encoding = row.encoding
    return [
        Labelled(text, probabilities[i], start, end, word, i)
        for i, (text, (start, end), word) in enumerate(
            zip(encoding.tokens, encoding.offsets, encoding.word_ids, strict=True)
        )
        if not encoding.special_tokens_mask[i]
    ]


def _joined(windows: Sequence[list[Labelled]], stride: int) -> list[Labelled]:
    """The windows' tokens as one run: of the `stride` that two share, each gives the half it sees more around."""
    joined = list(windows[0])
    for window in windows[1:]:
        from_first = (stride + 1) // 2
        joined = joined[: len(joined) - (stride - from_first)] + window[from_first:]
    return joined


def entities_of(
    tokens: Sequence[Labelled],
    labels: dict[int, str],
    options: TokenOptions,
    text_of: Callable[[list[str]], str],
) -> list[TokenEntity]:
    strategy, ignored = options.aggregation_strategy, options.ignore_labels
    if strategy == "none":
        pieces = [_piece((token,), "first", labels) for token in tokens]
        return [_single(piece) for piece in pieces if piece.label not in ignored]
    words = [[token] for token in tokens] if strategy == "simple" else _words(tokens)
    groups = group_pieces([_piece(tuple(word), strategy, labels) for word in words])
    kept = [group for group in groups if not {group[0].label, _begins_kind(group[0].label)[1]} & set(ignored)]
    return [_group(group, text_of) for group in kept]


def _words(tokens: Sequence[Labelled]) -> list[list[Labelled]]:
    """Tokens by the word they belong to; one without a word stands for itself."""
    keys = ((token.word, None if token.word is not None else token.start) for token in tokens)
    return [[token for _, token in group] for _, group in groupby(zip(keys, tokens, strict=True), lambda pair: pair[0])]


def _piece(tokens: tuple[Labelled, ...], strategy: AggregationStrategy, labels: dict[int, str]) -> Piece:
    """The one label of a word's tokens, by the strategy."""
    if strategy == "average":
        probabilities = np.mean([token.probabilities for token in tokens], axis=0)
    elif strategy == "max":
        probabilities = max((token.probabilities for token in tokens), key=lambda found: float(found.max()))
    else:
        probabilities = tokens[0].probabilities
    best = int(probabilities.argmax())
    return Piece(labels[best], float(probabilities[best]), tokens)


def group_pieces(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Neighbours of one entity: of the same kind, and the later one doesn't begin another (`B-`)."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        begins, kind = _begins_kind(piece.label)
        if groups and not begins and kind == _begins_kind(groups[-1][-1].label)[1]:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _begins_kind(label: str) -> tuple[bool, str]:
    """Whether a label begins an entity, and of which kind: `B-PER` is (True, "PER"); `PER` continues one."""
    if label.startswith(("B-", "I-")):
        return label[0] == "B", label[2:]
    return False, label


def _single(piece: Piece) -> TokenEntity:
    token = piece.tokens[0]
    return TokenEntity(
        label=piece.label,
        score=piece.score,
        word=token.text,
        start=token.start,
        end=token.end,
        is_group=False,
        index=token.index,
    )


def _group(pieces: Sequence[Piece], text_of: Callable[[list[str]], str]) -> TokenEntity:
    tokens = [token for piece in pieces for token in piece.tokens]
    return TokenEntity(
        label=_begins_kind(pieces[0].label)[1],
        score=float(np.mean([piece.score for piece in pieces])),
        word=text_of([token.text for token in tokens]),
        start=tokens[0].start,
        end=tokens[-1].end,
    )
