"""Examples that repeat or contradict each other: what a person overlooks in a long task file. Text only."""

from collections.abc import Sequence
from dataclasses import dataclass

from handful.task.task import Example


@dataclass(frozen=True, slots=True)
class Repetition:
    """Two examples (as indexes) with the same inputs, and the outputs that they give for it."""

    first: int
    second: int
    outputs: tuple[str, str]

    @property
    def is_conflict(self) -> bool:
        """Whether the outputs differ, so that one of the two must be wrong."""
        return self.outputs[0] != self.outputs[1]

    def __str__(self) -> str:
        where = f"Examples {self.first + 1} and {self.second + 1} have the same input"
        if self.is_conflict:
            return f"{where} and different outputs, `{self.outputs[0]}` and `{self.outputs[1]}`."
        return f"{where} and the same output."


def repetitions(examples: Sequence[Example]) -> tuple[Repetition, ...]:
    """Each example that has the inputs of an earlier one, with the first such; conflicts come first.

    Inputs are the same where they differ in capitals and whitespace at most.
    """
    firsts: dict[tuple[tuple[str, str], ...], int] = {}
    found: list[Repetition] = []
    for index, example in enumerate(examples):
        key = tuple(sorted((name, " ".join(value.casefold().split())) for name, value in example.inputs.items()))
        first = firsts.setdefault(key, index)
        if first != index:
            outputs = examples[first].output.strip(), example.output.strip()
            found.append(Repetition(first, index, outputs))
    return tuple(sorted(found, key=lambda one: not one.is_conflict))
