"""`auto`: which reading of a closed task to trust, decided on the labelled examples there are.

1. The examples are dealt into prompts (`crossfit`), and the best of several deals and orders are kept (`deals`). With
   only a handful, all of them are shown, in a few orders, and prompts of half of them give the evidence (`auto_plan`
   says which).
2. Every recipe is judged by what it says of examples it wasn't given (`evidence`).
3. A recipe that is known to be good for so many labels is the default. Another replaces it only on clear evidence:
   a handful of labels can't tell six recipes apart.
4. What is chosen is never worse than plain scoring on the evidence.
5. Where tuned prompts are asked for, they are taken if their evidence is better still (`tuned_prompts`).
"""

from collections.abc import Sequence

import numpy as np

from handful.backend import Backend
from handful.learn.auto_plan import plan_for
from handful.learn.auto_prompts import Prompts
from handful.learn.auto_settings import AutoSettings
from handful.learn.choice import Choice
from handful.learn.crossfit import (
    NUM_FOLDS,
    NUM_TUNED_FOLDS,
    Fold,
    Reading,
    balanced_prompts,
    folds_of,
    with_encoded,
)
from handful.learn.deals import Candidate, Kept, candidates, keep_best
from handful.learn.encodings import Encodings
from handful.learn.ensemble import EnsemblePredictor, Member
from handful.learn.evidence import Judged, choose, judge, judge_answers
from handful.learn.ordering import some_orders
from handful.learn.probability import Classes
from handful.learn.recipe import CALIBRATED, LOGISTIC_AND_SCORE, PLAIN, TUNED, Recipe, fit_recipe
from handful.learn.representation import classes_of
from handful.learn.tuned_prompts import num_tuned_shown, tune_prompts
from handful.task.inputs import Input
from handful.task.task import Example, Task
from handful.types import PrefixTuning


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
    wanted = settings or AutoSettings()
    asked = task.with_examples(examples)  # checks every example, too
    run = _Auto(Prompts(asked, backend, wanted.synonyms, unlabelled, wanted.seed), wanted)
    return run.of_few() if run.plan.shows_all else run.cross_fitted()


class _Auto:
    """One run of `fit_auto`: from examples to what is kept of them."""

    def __init__(self, prompts: Prompts, settings: AutoSettings) -> None:
        self.prompts = prompts
        self.settings = settings
        task = prompts.task
        self.classes: Classes = classes_of([example.output for example in task.examples], task.labels)
        self.plan = plan_for(self.classes, task.labels, settings)
        self.num_tuned_shown = 0
        if settings.prompt_tuning is not None:  # what can't be is told before anything is computed
            self.num_tuned_shown = num_tuned_shown(prompts, self.plan.num_shown)
        self.encoder = settings.encoder
        self.encodings: Encodings | None = None
        if self.encoder is not None and self.plan.needs_encoder:
            self.encodings = Encodings(
                task, prompts.inputs, self.classes, self.encoder, settings.tuning, settings.advance
            )

    def cross_fitted(self) -> tuple[EnsemblePredictor, Choice]:
        """Each prompt shows some examples; the others tell its bias and teach the head behind it."""
        plan = self.plan
        offered = candidates(self.classes, plan.num_shown, plan.compared.num_deals, self.settings.seed)
        if not plan.compared.leaves_a_choice:
            offered = offered[::2]  # one order of each deal, and all are kept
        scored = [(one, self.prompts.scored(one.shown)) for one in offered]
        kept = self._kept(scored)
        readings = {index: self._with_states(scored[index][1]) for index in kept.used}
        folds = [Fold(held, tuple(readings[index] for index in chosen)) for held, chosen in kept.folds]
        best, reason = self._choose(judged := self._judge(folds))
        if self.settings.prompt_tuning is not None:
            members, tuned = self._tuned(self.settings.prompt_tuning)
            judged.append(tuned)
            if tuned.losses.mean() < best.losses.mean():
                told = f"Lower log loss on held-out examples than {best.recipe.name!r}."
                return self._finished(members, tuned, told, judged, (self.num_tuned_shown, 0))
        num_compared = len(offered) if len(offered) > len(kept.final) else 0
        finished = self._encoded([readings[index] for index in kept.final])
        return self._finish(finished, best, reason, judged, (plan.num_shown, num_compared))

    def of_few(self) -> tuple[EnsemblePredictor, Choice]:
        """All examples are shown; evidence comes from prompts of half of them, read on the other half."""
        num_examples = len(self.classes)
        halves = balanced_prompts(self.classes, max(1, num_examples // 2), 2, self.settings.seed)
        readings = [self.prompts.scored(shown) for shown in halves]
        judged = self._judge(folds_of(readings, self.classes, NUM_FOLDS, self.settings.seed) if readings else [])
        kept, reason = self._choose(judged)
        orders = some_orders(num_examples, self.plan.compared.num_prompts, self.settings.seed)
        final = [self.prompts.of_all(order) for order in orders]
        return self._finish(final, kept, reason, judged, (num_examples, 0))

    def _tuned(self, tuning: PrefixTuning) -> tuple[Sequence[Member], Judged]:
        """Tuned prompts, and what they said of the examples that each of them never saw."""
        tuned = tune_prompts(self.prompts, self.classes, self.num_tuned_shown, tuning, self.settings.advance)
        everything = np.ones(len(self.classes), dtype=np.bool_)
        return tuned.members, judge_answers(TUNED, tuned.held_out, everything, self.classes)

    def _kept(self, scored: Sequence[tuple[Candidate, Reading]]) -> Kept:
        """Which candidates are kept, and which are read for each fold."""
        num_folds = NUM_FOLDS if self.settings.tuning is None else NUM_TUNED_FOLDS
        return keep_best(scored, self.classes, self.plan.compared.num_prompts, num_folds, self.settings.seed)

    def _choose(self, judged: Sequence[Judged]) -> tuple[Judged, str]:
        if len(self.settings.recipes) == 1:
            (asked,) = self.settings.recipes
            return next(one for one in judged if one.recipe == asked), "It was asked for."
        wanted = (recipe for recipe in (LOGISTIC_AND_SCORE, CALIBRATED) if recipe in self.plan.recipes)
        return choose(judged, next(wanted, self.plan.recipes[0]))

    def _judge(self, folds: Sequence[Fold]) -> list[Judged]:
        offered = self.plan.recipes if PLAIN in self.plan.recipes else (PLAIN, *self.plan.recipes)
        if not folds:
            return [Judged(recipe, np.zeros(0), np.zeros(0)) for recipe in offered]
        if self.encodings is not None:
            folds = [self._encoded_without(fold) for fold in folds]
        return judge(folds, offered, self.classes)

    def _with_states(self, reading: Reading) -> Reading:
        return self.prompts.with_states(reading) if self.plan.needs_states else reading

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

    def _finish(
        self,
        readings: Sequence[Reading],
        kept: Judged,
        reason: str,
        judged: Sequence[Judged],
        prompts: tuple[int, int],
    ) -> tuple[EnsemblePredictor, Choice]:
        """The predictor, and what is told of it; `prompts` is how many examples one shows, how many are compared."""
        members = [_member(reading, kept.recipe, self.classes) for reading in readings]
        return self._finished(members, kept, reason, judged, prompts)

    def _finished(
        self,
        members: Sequence[Member],
        kept: Judged,
        reason: str,
        judged: Sequence[Judged],
        prompts: tuple[int, int],
    ) -> tuple[EnsemblePredictor, Choice]:
        num_shown, num_compared = prompts
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
