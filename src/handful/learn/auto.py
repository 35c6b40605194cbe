"""`auto`: which reading of a closed task to trust, decided on the labelled examples there are.

1. The examples are dealt into prompts (`crossfit`), and the best of several deals and orders are kept (`deals`). With
   only a handful, all of them are shown, in a few orders, and prompts of half of them give the evidence.
2. Every recipe is judged by what it says of examples it wasn't given (`evidence`).
3. A recipe that is known to be good for so many labels is the default. Another replaces it only on clear evidence:
   a handful of labels can't tell six recipes apart.
4. What is chosen is never worse than plain scoring on the evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from handful.backend import Backend
from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.calibrate import mean_bias
from handful.learn.crossfit import (
    NUM_FOLDS,
    NUM_TUNED_FOLDS,
    Fold,
    Reading,
    balanced_prompts,
    folds_of,
    read_scores,
    read_states,
    with_encoded,
)
from handful.learn.deals import Candidate, Kept, candidates, keep_best
from handful.learn.encodings import Encodings
from handful.learn.ensemble import EnsemblePredictor, Member
from handful.learn.evidence import Judged, Verdict, choose, judge
from handful.learn.ngrams import Encoder
from handful.learn.ordering import some_orders
from handful.learn.probability import Classes, Vector
from handful.learn.reading import Reader
from handful.learn.recipe import CALIBRATED, LOGISTIC_AND_SCORE, PLAIN, RECIPES, Read, Recipe, fit_recipe
from handful.learn.representation import classes_of
from handful.learn.tuned import Progress
from handful.task.calibration import label_bias, probes
from handful.task.inputs import Input, values_of
from handful.task.problem import join_words
from handful.task.task import Example, Task
from handful.types import EncoderTuning

# From how many examples of each class behind every prompt a head on the hidden states is worth fitting.
_FEWEST_READ = 4
# About how many examples a prompt shows where the others teach a head; more where a class has `_MANY`.
_SHOWN = 4
_SHOWN_OF_MANY = 8
_MANY = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoSettings:
    """How much `auto` may spend, and what it chooses from.

    num_shown    examples in one prompt. None: all of them where no head can learn from the others, and else the
                 smallest multiple of the number of labels that is at least 4 (8 with 16 examples of every label)
    num_prompts  most prompts that are averaged; a query costs one or two passes through the model for each
    num_deals    deals of examples that are compared, each in an order and its reverse, for the best `num_prompts` to be
                 kept; no more than `num_prompts` of them leaves nothing to choose. Fitting costs a pass through the
                 model for each deal, order and example
    recipes      what to choose from; plain scoring is always judged beside them
    encoder      what the recipes with an encoder read; they are left out without one
    tuning       tune the encoder with the examples: once with all of them, and for the evidence without those that are
                 held out
    advance      is told the steps of tuning that are done, and of how many
    synonyms     label -> further words that mean it (see `Reader`)
    """

    num_shown: int | None = None
    num_prompts: int = 2
    num_deals: int = 4
    recipes: tuple[Recipe, ...] = RECIPES
    encoder: Encoder | None = None
    tuning: EncoderTuning | None = None
    advance: Progress | None = None
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_shown", "num_prompts", "num_deals"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InvalidParameterError(name, f"must be a whole number from 1, not {value!r}.")
        if not self.recipes:
            raise InvalidParameterError("recipes", "is empty.", fix="Leave it out to choose from all.")
        if self.encoder is None and all(recipe.encoder_kind is not None for recipe in self.recipes):
            raise InvalidParameterError("encoder", "is needed by what was chosen.", fix="Give an encoder.")
        if self.tuning is not None and self.encoder is None:
            raise InvalidParameterError("encoder", "is needed where one is to be tuned.", fix="Give an encoder.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What `auto` chose, why, and what to expect.

    num_passes   passes through the model that a query costs
    num_compared prompts that were compared for the `num_prompts` best; 0 where there was nothing to choose
    confidences  how sure it was of each held-out example, and `is_right` whether it was right: what `reliability_bins`
                 and `threshold_for` take. Where all examples are shown, prompts of half of them said it
    """

    recipe: str
    reason: str
    expected: Verdict
    verdicts: tuple[Verdict, ...]
    num_prompts: int
    num_shown: int
    num_passes: int
    num_compared: int = 0
    confidences: tuple[float, ...] = ()
    is_right: tuple[bool, ...] = ()

    def __str__(self) -> str:
        chosen = f" (the best of {self.num_compared})" if self.num_compared else ""
        prompts = f"{self.recipe}, {self.num_prompts} prompts of {self.num_shown} examples{chosen}, "
        prompts += f"{self.num_passes} passes"
        if not self.expected.num_tried:
            return f"{prompts} a query. {self.reason}"
        low, high = self.expected.interval
        return (
            f"{prompts} a query: {self.expected.accuracy:.0%} right ({low:.0%} to {high:.0%}) of "
            f"{self.expected.num_tried} held-out examples. {self.reason}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "recipe": self.recipe,
            "reason": self.reason,
            "num_prompts": self.num_prompts,
            "num_shown": self.num_shown,
            "num_passes": self.num_passes,
            "num_compared": self.num_compared,
            "expected": self.expected.to_dict(),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "confidences": list(self.confidences),
            "is_right": list(self.is_right),
        }


def fit_auto(
    task: Task,
    backend: Backend,
    examples: Sequence[Example],
    settings: AutoSettings | None = None,
    *,
    unlabelled: Sequence[Input] = (),
) -> tuple[EnsemblePredictor, Choice]:
    """Choose and fit. `task` gives templates, description and labels; its own examples are not used.

    `unlabelled` are inputs like those to come: they tell the prompts' label bias better than anything else.
    Raises InvalidInputError when a label has no example, and what the backend raises.
    """
    run = _Auto(task, backend, tuple(examples), settings or AutoSettings(), unlabelled)
    return run.of_few() if run.shows_all else run.cross_fitted()


class _Auto:
    """One run of `fit_auto`: the examples, and how prompts are made of them."""

    def __init__(
        self,
        task: Task,
        backend: Backend,
        examples: tuple[Example, ...],
        settings: AutoSettings,
        unlabelled: Sequence[Input],
    ) -> None:
        self.task = task.with_examples(examples)  # checks every example, too
        self.backend = backend
        self.inputs: list[Input] = [example.inputs for example in examples]
        self.classes: Classes = classes_of([example.output for example in examples], task.labels)
        self.settings = settings
        self.unlabelled = unlabelled
        counts = np.bincount(self.classes, minlength=len(task.labels))
        missing = [label for label, count in zip(task.labels, counts, strict=True) if not count]
        if missing:
            fix = "Give at least one of each, or leave the label out."
            raise InvalidInputError(f"No example has the label {join_words(missing[:20])}.", fix=fix)
        self.fewest = int(counts.min())
        num_labels = len(task.labels)
        wanted = _SHOWN_OF_MANY if self.fewest >= _MANY else _SHOWN
        self.num_shown = settings.num_shown or num_labels * max(1, -(-wanted // num_labels))

        # Behind each prompt enough examples of every class must stay for a head to learn from.
        has_enough = self.fewest - -(-self.num_shown // num_labels) >= _FEWEST_READ
        offered = [one for one in settings.recipes if one.encoder_kind is None or settings.encoder is not None]
        self.recipes = tuple(recipe for recipe in offered if has_enough or not recipe.has_head)
        if not self.recipes:
            raise self._too_few()
        self.encoder = settings.encoder
        self.encodings: Encodings | None = None
        if self.encoder is not None and any(recipe.encoder_kind is not None for recipe in self.recipes):
            self.encodings = Encodings(
                self.task, self.inputs, self.classes, self.encoder, settings.tuning, settings.advance
            )
        elif settings.tuning is not None:
            raise self._too_few("Tuning an encoder")

    @property
    def shows_all(self) -> bool:
        """Whether every prompt shows all examples: where no head is to learn, and no smaller number was asked for."""
        asked = self.settings.num_shown
        has_head = any(recipe.has_head for recipe in self.recipes)
        return not has_head and (asked is None or asked >= len(self.inputs))

    def cross_fitted(self) -> tuple[EnsemblePredictor, Choice]:
        """Each prompt shows some examples; the others tell its bias and teach the head behind it."""
        settings = self.settings
        num_deals = max(settings.num_deals, settings.num_prompts)
        offered = candidates(self.classes, self.num_shown, num_deals, settings.seed)
        if settings.num_deals <= settings.num_prompts:
            offered = offered[::2]  # one order of each deal, and all are kept
        scored = [(one, self._read(one.shown)) for one in offered]
        kept = self._kept(scored)
        readings = {index: self._with_states(scored[index][1]) for index in kept.used}
        folds = [Fold(held, tuple(readings[index] for index in chosen)) for held, chosen in kept.folds]
        best, reason = self._choose(judged := self._judge(folds))
        num_compared = len(offered) if len(offered) > len(kept.final) else 0
        finished = self._encoded([readings[index] for index in kept.final])
        return self._finish(finished, best, reason, judged, (self.num_shown, num_compared))

    def of_few(self) -> tuple[EnsemblePredictor, Choice]:
        """All examples are shown; evidence comes from prompts of half of them, read on the other half."""
        halves = balanced_prompts(self.classes, max(1, len(self.inputs) // 2), 2, self.settings.seed)
        readings = [self._with_states(self._read(shown)) for shown in halves]
        judged = self._judge(folds_of(readings, self.classes, NUM_FOLDS, self.settings.seed) if readings else [])
        kept, reason = self._choose(judged)
        orders = some_orders(len(self.inputs), self.settings.num_prompts, self.settings.seed)
        final = [self._ask_nothing(order) for order in orders]
        return self._finish(final, kept, reason, judged, (len(self.inputs), 0))

    def _kept(self, scored: Sequence[tuple[Candidate, Reading]]) -> Kept:
        """Which candidates are kept, and which are read for each fold."""
        num_folds = NUM_FOLDS if self.settings.tuning is None else NUM_TUNED_FOLDS
        return keep_best(scored, self.classes, self.settings.num_prompts, num_folds, self.settings.seed)

    def _choose(self, judged: Sequence[Judged]) -> tuple[Judged, str]:
        if len(self.settings.recipes) == 1:
            (asked,) = self.settings.recipes
            return next(one for one in judged if one.recipe == asked), "It was asked for."
        wanted = (recipe for recipe in (LOGISTIC_AND_SCORE, CALIBRATED) if recipe in self.recipes)
        return choose(judged, next(wanted, self.recipes[0]))

    def _judge(self, folds: Sequence[Fold]) -> list[Judged]:
        offered = self.recipes if PLAIN in self.recipes else (PLAIN, *self.recipes)
        if not folds:
            return [Judged(recipe, np.zeros(0), np.zeros(0)) for recipe in offered]
        if self.encodings is not None:
            folds = [self._encoded_without(fold) for fold in folds]
        return judge(folds, offered, self.classes)

    def _too_few(self, what: str = "A head") -> InvalidInputError:
        needed = -(-self.num_shown // len(self.task.labels)) + _FEWEST_READ
        problem = f"{what} needs {needed} examples of every label ({_FEWEST_READ} that its prompt doesn't show)"
        fix = "Give more examples, lower `num_shown`, or use the recipe `calibrated`."
        return InvalidInputError(f"{problem}; the rarest has {self.fewest}.", fix=fix)

    def _read(self, shown: Sequence[int]) -> Reading:
        reader = self._reader(shown)
        return read_scores(reader, self.inputs, shown, self._bias(reader))

    def _with_states(self, reading: Reading) -> Reading:
        has_head = any(recipe.kind is not None for recipe in self.recipes)
        return read_states(reading, self.inputs) if has_head else reading

    def _encoded(self, readings: Sequence[Reading]) -> list[Reading]:
        """The readings with the vectors of the encoder that is kept, which may have learned from all examples."""
        if self.encodings is None:
            return list(readings)
        self.encoder, vectors = self.encodings.fitted()
        return [with_encoded(reading, vectors) for reading in readings]

    def _encoded_without(self, fold: Fold) -> Fold:
        """The fold's readings with the vectors of an encoder that learned nothing from its rows."""
        if self.encodings is None:
            return fold
        vectors = self.encodings.without(fold.held)
        return Fold(fold.held, tuple(with_encoded(reading, vectors) for reading in fold.readings))

    def _ask_nothing(self, order: Sequence[int]) -> Reading:
        reader = self._reader(order)
        return Reading(reader, np.ones(len(self.inputs), dtype=np.bool_), Read(), self._bias(reader))

    def _reader(self, shown: Sequence[int]) -> Reader:
        task = self.task.with_examples(self.task.examples[index] for index in shown)
        return Reader(task, self.backend, self.settings.synonyms)

    def _bias(self, reader: Reader) -> Vector:
        """The prompt's bias without labels: over the unlabelled inputs, or else over inputs that say nothing."""
        if self.unlabelled:
            return mean_bias(reader.log_probabilities(self.unlabelled))
        texts = [text for given in self.inputs for text in values_of(self.task, given).values()]
        found = reader.score(reader.prompts_of_texts(probes(texts, seed=self.settings.seed)))
        return np.array(label_bias(found.tolist()))

    def _finish(
        self,
        readings: Sequence[Reading],
        kept: Judged,
        reason: str,
        judged: Sequence[Judged],
        prompts: tuple[int, int],
    ) -> tuple[EnsemblePredictor, Choice]:
        """The predictor, and what is told of it; `prompts` is how many examples one shows, how many are compared."""
        num_shown, num_compared = prompts
        members = [_member(reading, kept.recipe, self.classes) for reading in readings]
        predictor = EnsemblePredictor(tuple(members), kept.sharpness, self.encoder)
        return predictor, Choice(
            recipe=kept.recipe.name,
            reason=reason,
            expected=kept.verdict,
            verdicts=tuple(one.verdict for one in judged),
            num_prompts=len(members),
            num_shown=num_shown,
            num_passes=predictor.num_passes,
            num_compared=num_compared,
            confidences=tuple(kept.confidences.tolist()),
            is_right=tuple(bool(one) for one in kept.is_right),
        )


def _member(reading: Reading, recipe: Recipe, classes: Classes) -> Member:
    unseen = ~reading.shown
    return Member(reading.reader, fit_recipe(recipe, reading.read.rows(unseen), classes[unseen], reading.bias))
