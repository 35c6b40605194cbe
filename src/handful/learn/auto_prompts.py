"""Prompts of some labelled examples, and what the model says behind them of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from handful.backend import Backend
from handful.learn.calibrate import mean_bias
from handful.learn.crossfit import Reading, read_scores, read_states
from handful.learn.probability import Vector
from handful.learn.reading import Reader, layers_to_read
from handful.learn.recipe import Read
from handful.task.calibration import label_bias, probes
from handful.task.inputs import Input, values_of
from handful.task.task import Task


@dataclass(frozen=True, slots=True)
class Prompts:
    """What asks a model behind prompts of `task`'s examples, which are named by their indexes.

    unlabelled  inputs like those to come; they tell a prompt's label bias better than inputs that say nothing, which
                are drawn with `seed`
    """

    task: Task
    backend: Backend
    synonyms: Mapping[str, Sequence[str]]
    unlabelled: Sequence[Input]
    seed: int

    @property
    def inputs(self) -> list[Input]:
        """Those of all examples."""
        return [example.inputs for example in self.task.examples]

    def scored(self, shown: Sequence[int]) -> Reading:
        """The scores of every example that the prompt doesn't show."""
        reader = self._reader(shown)
        return read_scores(reader, self.inputs, shown, self._bias(reader))

    def with_states(self, reading: Reading) -> Reading:
        """The same with their hidden states."""
        return read_states(reading, self.inputs)

    def of_all(self, order: Sequence[int]) -> Reading:
        """A prompt that shows all examples, in this order, so that none is left to ask of."""
        reader = self._reader(order)
        return Reading(reader, np.ones(len(self.task.examples), dtype=np.bool_), Read(), self._bias(reader))

    def _reader(self, shown: Sequence[int]) -> Reader:
        task = self.task.with_examples(self.task.examples[index] for index in shown)
        return Reader(task, self.backend, self.synonyms, layers_to_read(self.backend.info))

    def _bias(self, reader: Reader) -> Vector:
        """The prompt's bias without labels."""
        if self.unlabelled:
            return mean_bias(reader.log_probabilities(self.unlabelled))
        texts = [text for given in self.inputs for text in values_of(self.task, given).values()]
        found = reader.score(reader.prompts_of_texts(probes(texts, seed=self.seed)))
        return np.array(label_bias(found.tolist()))
