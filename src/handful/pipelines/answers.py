"""Answers to questions as stretches of a text. A long text is read in windows that share some tokens.

In each window every token has a probability to start and to end the answer (a softmax over the text's tokens and the
mark that stands for "no answer"); a stretch has their product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handful.errors import InvalidInputError, InvalidParameterError
from handful.nlp_types import Answer, Question, QuestionOptions
from handful.pipelines.network import Inputs, Network, Row, too_long

DEFAULT_WINDOW, DEFAULT_STRIDE = 384, 128
Scores = NDArray[np.float32]
_NOWHERE = np.float32(-10_000.0)


@dataclass(frozen=True, slots=True)
class Window:
    """The tokens of a window: which are of the context, and which stands for "no answer".

    `words` are the characters of each word of the whole context, of which a window may hold a part.
    """

    row: Row
    is_context: NDArray[np.bool_]
    null: int
    words: dict[int, tuple[int, int]]


def question_answering(network: Network, items: Sequence[Question], options: QuestionOptions) -> list[list[Answer]]:
    """See `NlpModel.question_answering`."""
    if not items:
        raise InvalidInputError("The list of inputs is empty.", fix="Send at least one question.")
    network.require_places()
    windows = [_windows(network, item, options) for item in items]
    logits = iter(_logits(network, [window.row for found in windows for window in found]))
    answers = []
    for item, found in zip(items, windows, strict=True):
        scored = [(window, *_probabilities(window, *next(logits))) for window in found]
        answers.append(_best(item.context, scored, options))
    return answers


def _windows(network: Network, item: Question, options: QuestionOptions) -> list[Window]:
    question_first = network.tokenizer.padding_side == "right"
    max_tokens = _window_tokens(network, item, options)
    room = max_tokens - _num_tokens(network, item.question) - network.tokenizer.num_special_tokens_to_add(pair=True)
    stride = min(DEFAULT_STRIDE, room // 2) if options.doc_stride is None else options.doc_stride
    if stride >= room:
        raise InvalidParameterError(
            "doc_stride",
            f"is {stride}, and beside the question a window has room for {max(room, 0)} tokens.",
            fix="Make it smaller, or max_seq_len larger.",
        )
    first, second = (item.question, item.context) if question_first else (item.context, item.question)
    part = "only_second" if question_first else "only_first"
    rows = network.windows(first, second, part, max_tokens, stride)
    words = _words(network, item.context)
    return [_window(network, row, 1 if question_first else 0, words) for row in rows]


def _window_tokens(network: Network, item: Question, options: QuestionOptions) -> int:
    """The tokens of a window, and the limits that the question must keep."""
    if options.max_seq_len is not None and options.max_seq_len > network.max_tokens:
        raise InvalidParameterError("max_seq_len", f"is more than the {network.max_tokens} that {network.name} takes.")
    num_question = _num_tokens(network, item.question)
    if num_question > options.max_question_len:
        fix = "Shorten the question, or raise `max_question_len`."
        raise too_long("a question", num_question, options.max_question_len, fix)
    return options.max_seq_len or min(DEFAULT_WINDOW, network.max_tokens)


def _num_tokens(network: Network, text: str) -> int:
    return len(network.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _words(network: Network, context: str) -> dict[int, tuple[int, int]]:
    """The characters of each word by its number."""
    (encoding,) = network.tokenizer([context], add_special_tokens=False, verbose=False).encodings
    words: dict[int, tuple[int, int]] = {}
    for word, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
        if word is not None:
            words[word] = (words.get(word, (start, end))[0], end)
    return words


def _window(network: Network, row: Row, context: int, words: dict[int, tuple[int, int]]) -> Window:
    is_context = np.array([sequence == context for sequence in row.encoding.sequence_ids])
    if not is_context.any():
        raise InvalidInputError("`context` has nothing that the model reads.", fix="Send a text with words.")
    mark = network.tokenizer.cls_token_id
    return Window(row, is_context, row.ids.index(mark) if mark in row.ids else 0, words)


def _logits(network: Network, rows: Sequence[Row]) -> list[tuple[Scores, Scores]]:
    """What the model gives each token as start and as end: `[tokens]` each."""

    def read(outputs: Any, inputs: Inputs) -> list[tuple[Scores, Scores]]:
        used = inputs["attention_mask"].bool()
        pairs = zip(outputs.start_logits.float(), outputs.end_logits.float(), used, strict=True)
        return [(start[mask].cpu().numpy(), end[mask].cpu().numpy()) for start, end, mask in pairs]

    return network.outputs(rows, read)


def _probabilities(window: Window, start: Scores, end: Scores) -> tuple[Scores, Scores]:
    """Softmax over the tokens that an answer may start or end at."""
    allowed = window.is_context.copy()
    allowed[window.null] = True
    return _softmax(np.where(allowed, start, _NOWHERE)), _softmax(np.where(allowed, end, _NOWHERE))


def _softmax(logits: Scores) -> Scores:
    shifted = np.exp(logits - logits.max())
    found: Scores = shifted / shifted.sum()
    return found


def _best(context: str, scored: Sequence[tuple[Window, Scores, Scores]], options: QuestionOptions) -> list[Answer]:
    """The `top_k` best stretches of all windows; one that several windows show has the highest of its scores."""
    best: dict[tuple[int, int], float] = {}
    for window, start, end in scored:
        for place, score in _stretches(window, start, end, options).items():
            best[place] = max(score, best.get(place, 0.0))
    if options.handle_impossible_answer:
        best[0, 0] = min(float(start[window.null] * end[window.null]) for window, start, end in scored)
    ranked = sorted(best.items(), key=lambda item: item[1], reverse=True)[: options.top_k]
    return [Answer(score, start, end, context[start:end]) for (start, end), score in ranked]


def _stretches(window: Window, start: Scores, end: Scores, options: QuestionOptions) -> dict[tuple[int, int], float]:
    """The `top_k` best stretches of one window as characters `[start, end)` of the context, and their scores."""
    joint = np.outer(start * window.is_context, end * window.is_context)
    joint = np.tril(np.triu(joint), options.max_answer_len - 1)
    found: dict[tuple[int, int], float] = {}
    for place in np.argsort(-joint, axis=None, kind="stable"):
        first, last = divmod(int(place), len(joint))
        if joint[first, last] <= 0.0 or len(found) == options.top_k:
            break
        # Widened to words, several stretches may be one: it has the score of the first, which is the highest.
        found.setdefault(_characters(window, first, last, options.align_to_words), float(joint[first, last]))
    return found


def _characters(window: Window, first: int, last: int, to_words: bool) -> tuple[int, int]:
    """The characters of tokens `first` to `last`, or of the words that they are parts of."""
    encoding = window.row.encoding
    (start, _), (_, end) = encoding.offsets[first], encoding.offsets[last]
    if to_words:
        start, _ = window.words.get(encoding.word_ids[first], (start, end))
        _, end = window.words.get(encoding.word_ids[last], (start, end))
    return start, end
