"""An encoder's vectors of labelled examples, by an encoder that may be tuned with those same examples.

Invariant: what `without` gives for held-out rows comes from an encoder that never saw their labels, so a tuned encoder
is judged as honestly as any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handful.learn.crossfit import NUM_TUNED_FOLDS
from handful.learn.ngrams import Encoder, vectors_of
from handful.learn.probability import Classes, Mask, Matrix
from handful.learn.tuned import Progress, tune
from handful.task.inputs import Input
from handful.task.task import Task
from handful.types import EncoderTuning


@dataclass(slots=True)
class Encodings:
    """Encodes the examples `inputs` of `classes`. `tuning` None leaves the encoder as it is.

    `advance` is told the steps of tuning done over all runs of it, one for each fold and the last with all examples.
    """

    task: Task
    inputs: Sequence[Input]
    classes: Classes
    encoder: Encoder
    tuning: EncoderTuning | None = None
    advance: Progress | None = None
    _num_done: int = 0
    _vectors: Matrix | None = None

    def fitted(self) -> tuple[Encoder, Matrix]:
        """The encoder, tuned with all examples where it is to be, and its vectors `[n, dim]`."""
        if self.tuning is None:
            return self.encoder, self._untuned()
        encoder = self._tuned(self.tuning, np.ones(len(self.classes), dtype=np.bool_))
        return encoder, vectors_of(encoder, self.task, self.inputs)

    def without(self, held: Mask) -> Matrix:
        """The vectors `[n, dim]` of all rows by the encoder, tuned with all but the rows `held` where it is tuned."""
        if self.tuning is None:
            return self._untuned()
        return vectors_of(self._tuned(self.tuning, ~held), self.task, self.inputs)

    def _untuned(self) -> Matrix:
        if self._vectors is None:
            self._vectors = vectors_of(self.encoder, self.task, self.inputs)
        return self._vectors

    def _tuned(self, settings: EncoderTuning, rows: Mask) -> Encoder:
        known = [given for given, is_known in zip(self.inputs, rows, strict=True) if is_known]
        labelled = (known, self.classes[rows])
        tuned = tune(self.encoder, self.task, labelled, settings, self._count(settings.num_steps))
        self._num_done += settings.num_steps
        return tuned

    def _count(self, num_steps: int) -> Progress | None:
        """Progress of one run as that of all of them."""
        advance, before = self.advance, self._num_done
        if advance is None:
            return None
        return lambda done, _: advance(before + done, (NUM_TUNED_FOLDS + 1) * num_steps)
