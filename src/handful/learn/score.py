"""Scores of the label words behind the prompt, as they are or calibrated."""

from collections.abc import Sequence
from typing import Self

from handful.errors import InvalidParameterError
from handful.learn.calibrate import (
    CALIBRATIONS,
    Calibration,
    RunningBias,
    label_prior,
    mean_bias,
    remove_bias,
)
from handful.learn.predictor import Predictor
from handful.learn.probability import Matrix, Vector, normalise
from handful.learn.reading import Reader
from handful.task.calibration import CONTENT_FREE, random_texts
from handful.task.inputs import Input, values_of
from handful.task.problem import join_words


class ScorePredictor(Predictor):
    """P(label | prompt and input), with the prompt's bias taken out.

    calibration       see `calibrate`. "batch" without texts given to `fit` keeps a running mean over everything that is
                      predicted: then an answer depends on what was asked before. With them the bias is fixed.
    prior_correction  tau of the label-prior correction for unbalanced examples, for calibration "none" (the others
                      measure what the examples do to the answers, their counts included); 0 leaves it out
    """

    def __init__(
        self, reader: Reader, calibration: Calibration = "none", *, prior_correction: float = 0.0, seed: int = 0
    ) -> None:
        if calibration not in CALIBRATIONS:
            problem = f"must be one of {join_words(CALIBRATIONS)}, not {calibration!r}."
            raise InvalidParameterError("calibration", problem)
        if prior_correction and calibration != "none":
            problem = f"has no effect with calibration {calibration!r}, which measures what the examples do."
            raise InvalidParameterError("prior_correction", problem, fix="Leave one of the two out.")
        self.reader = reader
        self.calibration = calibration
        self.prior_correction = prior_correction
        self.seed = seed
        self.running = RunningBias(len(reader.labels))
        self._bias: Vector | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's labels."""
        return self.reader.labels

    @property
    def bias(self) -> Vector | None:
        """What `fit` measured, `[labels]`; None before it, and for "batch" without texts."""
        return self._bias

    def fit(self, texts: Sequence[Input] = ()) -> Self:
        """Measure the bias now. `texts` are unlabelled inputs: those of a batch, or where domain words come from.

        Without them "domain" takes its words from the task's examples (InvalidParameterError when it has none).
        """
        if self.calibration == "none":
            self._bias = self._prior()
        elif self.calibration == "contextual":
            self._bias = mean_bias(self.reader.score(self.reader.prompts_of_texts(CONTENT_FREE)))
        elif self.calibration == "domain":
            self._bias = mean_bias(self.reader.score(self.reader.prompts_of_texts(self._domain_texts(texts))))
        elif self.calibration == "batch" and texts:
            self._bias = mean_bias(self.reader.log_probabilities(texts))
        return self

    def probabilities(self, inputs: Sequence[Input]) -> Matrix:
        """See `Predictor.probabilities`."""
        return normalise(self.calibrated(self.reader.log_probabilities(inputs)))

    def calibrated(self, log_probabilities: Matrix) -> Matrix:
        """Log-probabilities that the reader gave, with the bias taken out. Fits first where nobody has."""
        if not len(log_probabilities):
            return log_probabilities
        return remove_bias(log_probabilities, self._bias_for(log_probabilities))

    def _bias_for(self, log_probabilities: Matrix) -> Vector:
        if self._bias is None:
            self.fit()
        if self._bias is not None:
            return self._bias
        self.running.update(log_probabilities)
        return self.running.bias

    def _prior(self) -> Vector:
        classes = [self.labels.index(example.output) for example in self.reader.task.examples]
        return label_prior(classes, len(self.labels), tau=self.prior_correction)

    def _domain_texts(self, texts: Sequence[Input]) -> list[str]:
        task = self.reader.task
        given: Sequence[Input] = texts or [example.inputs for example in task.examples]
        found = random_texts([text for one in given for text in values_of(task, one).values()], seed=self.seed)
        if not found:
            fix = "Give `fit` some texts, or the task examples."
            raise InvalidParameterError("calibration", "`domain` needs texts to take words from.", fix=fix)
        return found
