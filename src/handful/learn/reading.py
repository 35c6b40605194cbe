"""Asks a backend what a closed task's prompt says of inputs.

Invariant: every prompt starts with the task's prefix as `task.render` writes it, so the model computes it once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from handful.backend import Backend, PrefixBackend, no_prefix
from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError, TaskError
from handful.learn.probability import Matrix, log_normalise, log_sum_exp
from handful.task.fit import Fit, Fitter, warn_of_dropped
from handful.task.inputs import Input
from handful.task.predict import count_now, plan
from handful.task.problem import join_words
from handful.task.render import continuations
from handful.task.task import Task
from handful.types import ModelInfo, Score, TunedPrefix

# Prompts sent in one call: enough to fill the engine's steps, few enough for one request to a server.
_NUM_PROMPTS_A_CALL = 128
# Besides the final state a head reads the one this far up: the last layers turn to the next token (docs/log.md).
_READ_DEPTH = 0.8


Layers = tuple[int | None, ...]


@dataclass(slots=True)
class Reader:
    """The probabilities and hidden states that one task's prompt gives. The task must have labels (TaskError).

    synonyms   label -> further words that mean it; their probabilities are added to the label's
               (as in arXiv 2102.09690, where Technology = {Technology, Science})
    layers     behind which layers hidden states are read, side by side; None: behind the last norm
    prefix     a learned start that every prompt stands behind; what the task itself begins with comes after it
    """

    task: Task
    backend: Backend
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    layers: Layers = (None,)
    prefix: TunedPrefix | None = None
    _fitter: Fitter = field(init=False, repr=False)
    _continuations: tuple[str, ...] = field(init=False, repr=False)
    _columns: list[list[int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.task.is_closed:
            problem = f"The task `{self.task.name}` has no labels, so its answers have no probabilities."
            raise TaskError(problem, fix="Give it `labels`.")
        words, self._columns = _words(self.task.labels, self.synonyms)
        self._continuations = continuations(self.task.replace(labels=words, examples=()))
        self._fitter = Fitter(self.task, self.backend.info.context_length)

    def on(self, backend: Backend) -> "Reader":
        """The same, asking another backend."""
        return Reader(self.task, backend, self.synonyms, self.layers, self.prefix)

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's labels."""
        return self.task.labels

    def log_probabilities(self, inputs: Sequence[Input]) -> Matrix:
        """Each label's share of the probability that all labels have together, as logarithms: `[n, labels]`."""
        return self.score(self.prompts(inputs))

    def hidden_states(self, inputs: Sequence[Input]) -> Matrix:
        """The model's hidden states where the answer begins: `[n, len(layers) * hidden_size]`.

        Those of several layers, whose sizes differ, are made equally long.
        """
        prompts = self.prompts(inputs)
        if not prompts:
            return np.zeros((0, len(self.layers) * self.backend.info.hidden_size))
        states = [self._states(prompts, layer) for layer in self.layers]
        return states[0] if len(states) == 1 else np.concatenate([_equally_long(rows) for rows in states], axis=1)

    def _states(self, prompts: Sequence[str], layer: int | None) -> Matrix:
        rows = [self.backend.embed(part, layer=layer) for part in _parts(prompts)]
        return np.concatenate(rows).astype(np.float64)

    def score(self, prompts: Sequence[str]) -> Matrix:
        """The same for prompts that are already made."""
        scores = [score for part in _parts(prompts) for score in self._scores(part)]
        words = np.array([score.logprobs for score in scores], dtype=np.float64).reshape(-1, len(self._continuations))
        if not len(words):
            return np.zeros((0, len(self.labels)))
        return log_normalise(np.concatenate([log_sum_exp(words[:, columns]) for columns in self._columns], axis=1))

    def _scores(self, prompts: Sequence[str]) -> list[Score]:
        if self.prefix is None:
            return self.backend.score(prompts, self._continuations)
        if not isinstance(self.backend, PrefixBackend):
            raise no_prefix(self.backend)
        return self.backend.score_behind(self.prefix, prompts, self._continuations)

    def prompts(self, inputs: Sequence[Input]) -> list[str]:
        """The prompt of each input, as many examples dropped as don't fit (ExamplesDroppedWarning).

        Raises InvalidInputError and PromptTooLongError naming the first bad input, before anything is computed.
        """
        fits: list[Fit] = []
        for index, given in enumerate(inputs):
            try:
                fits.append(count_now(plan(self._fitter, given), self.backend.count_tokens).fit)
            except (InvalidInputError, PromptTooLongError) as error:
                raise type(error)(f"Input {index + 1} of {len(inputs)}: {error.message}", fix=error.fix) from None
        warn_of_dropped(self.task, (fit.num_dropped for fit in fits))
        return [fit.prompt for fit in fits]

    def prompts_of_texts(self, texts: Iterable[str]) -> list[str]:
        """Prompts whose every variable is `text`, which may say nothing at all: what calibration asks with."""
        values = [dict.fromkeys(self.task.variables, text) for text in texts]
        return [count_now(self._fitter.fit(value), self.backend.count_tokens).prompt for value in values]


def layers_to_read(info: ModelInfo) -> Layers:
    """The layers of a model behind which a head reads best; the last alone where there are hardly any."""
    layer = round(_READ_DEPTH * info.num_layers)
    return (layer, None) if 0 < layer < info.num_layers else (None,)


def _equally_long(rows: Matrix) -> Matrix:
    """Each row as long as a row of so many numbers of size 1."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Matrix = rows / np.where(lengths > 0, lengths, 1.0) * np.sqrt(rows.shape[1])
    return scaled


def _words(labels: tuple[str, ...], synonyms: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], list[list[int]]]:
    """All words that are scored, and for each label the columns of its words (its own first)."""
    words = list(labels)
    columns = [[index] for index in range(len(labels))]
    for label, others in synonyms.items():
        if label not in labels:
            raise InvalidParameterError("synonyms", f"names {label!r}, which is none of {join_words(labels[:20])}.")
        if isinstance(others, str):
            fix = f"Write [{others!r}]."
            raise InvalidParameterError("synonyms", f"of {label!r} must be a list of words.", fix=fix)
        for word in others:
            if word in words:
                raise InvalidParameterError("synonyms", f"holds {word!r} twice, or it is a label itself.")
            columns[labels.index(label)].append(len(words))
            words.append(word)
    return tuple(words), columns


def _parts(prompts: Sequence[str]) -> list[list[str]]:
    step = _NUM_PROMPTS_A_CALL
    return [list(prompts[start : start + step]) for start in range(0, len(prompts), step)]
