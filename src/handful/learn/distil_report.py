"""What a distillation lost and gained: agreement, accuracy where the truth is known, and queries a second."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handful.learn.distil import Distilled, verdict_of
from handful.learn.evidence import Verdict
from handful.learn.predictor import Predictor
from handful.learn.representation import classes_of
from handful.task.inputs import Input

_TIMED = 128
# Fewer texts of a label than this teach a head of some hundred features little.
_FEW = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Queries a second: the prompt's, then the head's, on texts that the model hasn't seen, as many at once as come."""

    num_queries: int
    teacher: float
    student: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilReport:
    """The figures. `teacher` and `student` are None where no text with a known label was given."""

    num_texts: int
    num_errors: int
    distilled: Distilled
    rates: Rates | None
    teacher: Verdict | None = None
    student: Verdict | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        agreement = self.distilled.agreement
        return {
            "num_texts": self.num_texts,
            "num_errors": self.num_errors,
            "num_confident": self.distilled.num_confident,
            "num_learned": self.distilled.num_learned,
            "num_set_aside": agreement.num_tried,
            "agreement": _share(agreement),
            "accuracy": None
            if self.teacher is None or self.student is None
            else {"prompt": _share(self.teacher), "classifier": _share(self.student)},
            "queries_per_s": None
            if self.rates is None
            else {"prompt": round(self.rates.teacher, 2), "classifier": round(self.rates.student, 2)},
        }

    def lines(self) -> list[str]:
        """The same for people."""
        learned = ", ".join(f"{count} {label}" for label, count in self.distilled.num_learned.items())
        lines = [
            f"{self.num_texts} texts labelled, {self.num_errors} could not be",
            f"{self.distilled.num_confident} confident ones, learned from {learned}",
        ]
        rarest, fewest = min(self.distilled.num_learned.items(), key=lambda item: item[1])
        if fewest < _FEW:
            lines.append(f"that is little: only {fewest} of `{rarest}`; a lower --confidence or more texts give more")
        if self.distilled.agreement.num_tried:
            lines.append(f"agrees with the prompt on {_told(self.distilled.agreement)} texts that were set aside")
        if self.teacher is not None and self.student is not None:
            lines.append(f"accuracy: prompt {_told(self.teacher)}, classifier {_told(self.student)} labelled texts")
        if self.rates is not None:
            gain = self.rates.student / self.rates.teacher
            lines.append(
                f"queries a second: prompt {self.rates.teacher:.1f}, classifier {self.rates.student:.1f} ({gain:.1f}x)"
            )
        return lines


def report_on(
    distilled: Distilled, num_texts: int, num_errors: int, truth: tuple[Sequence[Input], Sequence[str]] | None = None
) -> DistilReport:
    """Ask both predictors. `truth`: inputs and their right labels. Raises what the backend raises."""
    timed = list(truth[0] if truth is not None and not distilled.set_aside else distilled.set_aside)[:_TIMED]
    teacher = student = None
    if truth is not None:
        classes = classes_of(truth[1], distilled.teacher.labels)
        teacher = verdict_of("prompt", distilled.teacher.probabilities(truth[0]), classes)
        student = verdict_of("classifier", distilled.student.probabilities(truth[0]), classes)
    return DistilReport(
        num_texts=num_texts,
        num_errors=num_errors,
        distilled=distilled,
        rates=_rates(distilled, timed) if timed else None,
        teacher=teacher,
        student=student,
    )


def _rates(distilled: Distilled, inputs: Sequence[Input]) -> Rates:
    teacher = _queries_per_s(distilled.teacher, [_unseen(each, 0) for each in inputs])
    student = _queries_per_s(distilled.student, [_unseen(each, 1) for each in inputs])
    return Rates(num_queries=len(inputs), teacher=teacher, student=student)


def _unseen(given: Input, shift: int) -> Input:
    """An input of the same words, but from the last to the first: what was asked before is in the model's cache."""
    if not isinstance(given, str):
        return {name: str(_unseen(text, shift)) for name, text in given.items()}
    words = given.split()[::-1]
    return " ".join(words[shift:] + words[:shift]) or given


def _queries_per_s(predictor: Predictor, inputs: Sequence[Input]) -> float:
    predictor.probabilities(inputs[:1])  # its prefix is in the cache, as it is when it is served
    started = time.perf_counter()
    predictor.probabilities(inputs)
    return len(inputs) / max(time.perf_counter() - started, 1e-9)


def _share(verdict: Verdict) -> dict[str, Any]:
    low, high = verdict.interval
    return {
        "share": round(verdict.accuracy, 4),
        "interval": [round(low, 4), round(high, 4)],
        "num_right": verdict.num_right,
        "num_tried": verdict.num_tried,
    }


def _told(verdict: Verdict) -> str:
    low, high = verdict.interval
    return f"{verdict.accuracy:.1%} ({low:.0%} to {high:.0%}) of {verdict.num_tried}"
