"""Which deal of examples, and in which order: chosen on evidence, at worst as good as any, and never a boast."""

import numpy as np
import pytest

from handful.learn.auto import fit_auto
from handful.learn.auto_settings import AutoSettings
from handful.learn.crossfit import NUM_FOLDS, read_scores
from handful.learn.deals import Candidate, candidates, keep_best
from handful.learn.estimator import FewShotClassifier
from handful.learn.reading import Reader
from handful.learn.recipe import CALIBRATED, PLAIN
from tests.unit.learn.structured import StructuredBackend, examples, inputs, noise, task

QUERIES = inputs("bad", range(500, 560)) + inputs("good", range(500, 560))
TRUE = np.repeat([0, 1], 60)


class Moody(StructuredBackend):
    """A backend that some prefixes make wise and others dull: the true label's signal is raised by `spread` times a
    number that belongs to the prefix, and by `jitter` times one that belongs to prefix and query (pure luck)."""

    def __init__(self, spread: float, seed: int = 0, signal: float = 1.0, jitter: float = 0.0) -> None:
        super().__init__(score_signal=signal, state_signal=0.0, bias=0.5, seed=seed)
        self.spread, self.jitter = spread, jitter

    def _logprob(self, prompt: str, continuation: str) -> float:
        prefix, asked, label = self._parts(prompt)
        mood = 0.0
        if continuation.strip() == label:
            mood += self.spread * noise("mood", prefix, self.seed).normal()
            mood += self.jitter * noise("luck", prefix, asked, self.seed).normal()
        return super()._logprob(prompt, continuation) + float(mood)


def fitted(backend: StructuredBackend, num_each: int, num_deals: int, seed: int) -> tuple[float, float]:
    """The accuracy that was expected, and the one on new inputs."""
    settings = AutoSettings(recipes=(PLAIN, CALIBRATED), num_shown=2, num_deals=num_deals, seed=seed)
    predictor, choice = fit_auto(task(), backend, examples(num_each, start=1000 * seed), settings)
    return choice.expected.accuracy, float((predictor.probabilities(QUERIES).argmax(axis=1) == TRUE).mean())


def test_where_prompts_differ_the_best_of_several_is_clearly_better() -> None:
    gains = []
    for seed in range(8):
        backend = Moody(spread=0.8, seed=seed)
        gains.append(fitted(backend, 12, 4, seed)[1] - fitted(backend, 12, 1, seed)[1])
    assert np.mean(gains) > 0.05
    assert min(gains) > -0.05


@pytest.mark.parametrize("num_each", [4, 8])
def test_over_many_seeds_choosing_by_a_handful_of_labels_loses_nothing(num_each: int) -> None:
    for spread, least in ((0.0, -0.015), (0.8, 0.0)):
        gains = []
        for seed in range(20):
            backend = Moody(spread, seed)
            gains.append(fitted(backend, num_each, 4, seed)[1] - fitted(backend, num_each, 1, seed)[1])
        assert np.mean(gains) > least


def test_over_many_seeds_the_best_by_luck_alone_is_not_expected_to_be_better_than_it_is() -> None:
    boasts = []
    for seed in range(40):
        expected, found = fitted(Moody(0.0, seed, signal=0.4, jitter=1.5), 8, 6, seed)
        boasts.append(expected - found)
    assert np.mean(boasts) < 0.05  # 0.16 where the rows that are judged have a say in the choice


def test_candidates_are_deals_that_share_no_example_each_in_an_order_and_its_reverse() -> None:
    classes = np.repeat([0, 1], 8)
    offered = candidates(classes, 4, 3, seed=5)
    assert [one.deal for one in offered] == [0, 0, 1, 1, 2, 2]
    for first, second in zip(offered[::2], offered[1::2], strict=True):
        assert first.shown == second.shown[::-1]
    assert len({row for one in offered[::2] for row in one.shown}) == 12


def test_of_each_deal_one_order_is_kept_for_every_fold_and_for_all_rows() -> None:
    backend = Moody(0.8)
    given = examples(12)
    classes = np.repeat([0, 1], 12)
    rows = [example.inputs for example in given]

    def scored(one: Candidate) -> tuple[Candidate, object]:
        reader = Reader(task().with_examples(given[index] for index in one.shown), backend)
        return one, read_scores(reader, rows, one.shown, np.array([0.5, 0.5]))

    offered = [scored(one) for one in candidates(classes, 2, 4, seed=0)]
    kept = keep_best(offered, classes, 2, NUM_FOLDS, seed=0)  # type: ignore[arg-type]
    for chosen in (kept.final, *(one for _, one in kept.folds)):
        assert len({offered[index][0].deal for index in chosen}) == 2
    assert np.sum([held for held, _ in kept.folds], axis=0).tolist() == [1] * 24
    assert set(kept.used) >= set(kept.final)


def test_what_was_compared_is_said() -> None:
    _, choice = fit_auto(task(), StructuredBackend(), examples(15), AutoSettings(recipes=(CALIBRATED,), num_shown=4))
    assert (choice.num_compared, choice.num_prompts) == (8, 2)
    assert "2 prompts of 4 examples (the best of 8)" in str(choice)
    assert choice.to_dict()["num_compared"] == 8


def test_with_one_deal_or_none_to_spare_nothing_is_chosen() -> None:
    for num_each, num_deals in ((16, 1), (16, 2)):
        settings = AutoSettings(recipes=(CALIBRATED,), num_shown=4, num_deals=num_deals)
        assert fit_auto(task(), StructuredBackend(), examples(num_each), settings)[1].num_compared == 0


def test_plain_scoring_that_is_asked_for_is_the_first_deal_as_it_comes() -> None:
    model = StructuredBackend()
    given = examples(8)
    texts, labels = [one.inputs["text"] for one in given], [one.output for one in given]
    made = FewShotClassifier(model, input="Text: {text}", recipe="plain", num_shown=4).fit(texts, labels)
    assert (made.choice_.num_compared, made.choice_.num_prompts) == (0, 1)
