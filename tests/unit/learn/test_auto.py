import numpy as np
import pytest

from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.auto import fit_auto
from handful.learn.auto_settings import AutoSettings
from handful.learn.recipe import CALIBRATED, CENTROID, CENTROID_AND_SCORE, LOGISTIC, PLAIN, RECIPES, Recipe
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task

QUERIES = inputs("bad", range(500, 540)) + inputs("good", range(500, 540))
CLASSES = np.repeat([0, 1], 40)
CHEAP = (PLAIN, CALIBRATED, CENTROID)


def accuracy(backend: StructuredBackend, num_each: int, recipes: tuple[Recipe, ...] = RECIPES, seed: int = 0) -> float:
    settings = AutoSettings(recipes=recipes, seed=seed, num_prompts=2)
    predictor, _ = fit_auto(task(), backend, examples(num_each, start=1000 * seed), settings)
    return float((predictor.probabilities(QUERIES).argmax(axis=1) == CLASSES).mean())


@pytest.mark.parametrize("num_each", [2, 8])
def test_over_many_seeds_auto_is_as_good_as_plain_scoring_or_better(num_each: int) -> None:
    gains = []
    for seed in range(6):
        for signals in ((2.0, 0.0), (0.3, 1.0)):
            model = StructuredBackend(score_signal=signals[0], state_signal=signals[1], bias=2.0, seed=seed)
            gains.append(accuracy(model, num_each, CHEAP, seed) - accuracy(model, num_each, (PLAIN,), seed))
    assert np.mean(gains) > 0.05
    assert np.mean(np.array(gains) < -0.1) <= 0.05


def test_without_a_bias_and_with_states_of_noise_auto_loses_almost_nothing() -> None:
    losses = []
    for seed in range(5):
        model = StructuredBackend(score_signal=1.5, state_signal=0.0, seed=seed)
        losses.append(accuracy(model, 8, (PLAIN,), seed) - accuracy(model, 8, seed=seed))
    assert np.mean(losses) < 0.03


def test_states_that_say_everything_are_read() -> None:
    assert accuracy(StructuredBackend(score_signal=0.0, state_signal=1.5), 16) > 0.9


def test_a_head_on_states_of_noise_gives_way_to_scores_that_say_everything() -> None:
    model = StructuredBackend(score_signal=3.0, state_signal=0.0)
    _, choice = fit_auto(task(), model, examples(16), AutoSettings(recipes=(CENTROID, CENTROID_AND_SCORE)))
    assert choice.recipe in ("plain", "centroid + calibrated")
    assert "standard errors" in choice.reason


def test_the_expected_accuracy_holds_on_new_inputs() -> None:
    expected, found = [], []
    for seed in range(6):
        model = StructuredBackend(score_signal=0.7, state_signal=0.5, bias=1.0, seed=seed)
        predictor, choice = fit_auto(task(), model, examples(16), AutoSettings(recipes=CHEAP, seed=seed))
        expected.append(choice.expected.accuracy)
        found.append((predictor.probabilities(QUERIES).argmax(axis=1) == CLASSES).mean())
        low, high = choice.expected.interval
        assert low <= expected[-1] <= high
    assert np.mean(expected) == pytest.approx(np.mean(found), abs=0.08)


def test_a_handful_is_shown_whole_in_several_orders() -> None:
    model = StructuredBackend()
    predictor, choice = fit_auto(task(), model, examples(2))
    prompts = [[example.inputs["text"] for example in member.reader.task.examples] for member in predictor.members]
    assert choice.num_shown == 4
    assert all(sorted(prompt) == sorted(prompts[0]) for prompt in prompts)
    assert len({tuple(prompt) for prompt in prompts}) == 2


def test_with_more_examples_no_prompt_shows_what_another_one_does() -> None:
    predictor, choice = fit_auto(task(), StructuredBackend(), examples(8))
    shown = [example.inputs["text"] for member in predictor.members for example in member.reader.task.examples]
    assert (choice.num_shown, choice.num_prompts) == (4, 2)
    assert len(set(shown)) == len(shown) == 8


def test_the_number_shown_that_was_asked_for_is_shown_with_any_recipe() -> None:
    settings = AutoSettings(num_shown=2, recipes=(CALIBRATED,))
    predictor, choice = fit_auto(task(), StructuredBackend(), examples(4), settings)
    assert choice.num_shown == 2
    assert [len(member.reader.task.examples) for member in predictor.members] == [2, 2]


def test_hidden_states_are_asked_for_only_where_a_recipe_reads_them() -> None:
    model = StructuredBackend()
    fit_auto(task(), model, examples(8), AutoSettings(recipes=(CALIBRATED,)))
    assert "embed" not in {method for method, _ in model.calls}


def test_one_example_of_each_label_gives_no_evidence_and_says_so() -> None:
    predictor, choice = fit_auto(task(), StructuredBackend(), examples(1))
    assert predictor.probabilities(["bad 1"]).shape == (1, 2)
    assert choice.expected.num_tried in (0, 2)
    assert str(choice)


def test_the_choice_says_what_it_costs_and_what_it_expects() -> None:
    predictor, choice = fit_auto(task(), StructuredBackend(), examples(8))
    assert choice.num_passes == predictor.num_passes == sum(member.num_passes for member in predictor.members)
    assert f"of {choice.expected.num_tried} held-out examples" in str(choice)
    assert {verdict.recipe for verdict in choice.verdicts} == {recipe.name for recipe in RECIPES}
    assert choice.to_dict()["recipe"] == choice.recipe


def test_the_same_seed_gives_the_same_answers_and_each_input_its_own() -> None:
    first, _ = fit_auto(task(), StructuredBackend(), examples(8))
    again, _ = fit_auto(task(), StructuredBackend(), examples(8))
    together = first.probabilities(QUERIES[:4])
    assert together == pytest.approx(again.probabilities(QUERIES[:4]))
    assert together == pytest.approx(np.concatenate([first.probabilities([text]) for text in QUERIES[:4]]))


def test_unlabelled_inputs_tell_the_bias_of_a_handful() -> None:
    model = StructuredBackend(score_signal=1.0, bias=2.0)
    predictor, _ = fit_auto(task(), model, examples(2), unlabelled=QUERIES)
    mean = np.exp(np.log(predictor.probabilities(QUERIES))).mean(axis=0)
    assert mean == pytest.approx([0.5, 0.5], abs=0.1)


def test_a_recipe_that_was_asked_for_is_never_replaced() -> None:
    for recipe in RECIPES:
        settings = AutoSettings(recipes=(recipe,), num_prompts=2)
        _, choice = fit_auto(task(), StructuredBackend(score_signal=0.0), examples(8), settings)
        assert choice.recipe == recipe.name


def test_a_head_with_too_few_examples_is_refused_with_the_number_it_needs() -> None:
    with pytest.raises(InvalidInputError, match="needs 6 examples of every label"):
        fit_auto(task(), StructuredBackend(), examples(4), AutoSettings(recipes=(LOGISTIC,)))


def test_a_label_without_an_example_is_named() -> None:
    with pytest.raises(InvalidInputError, match="good"):
        fit_auto(task(), StructuredBackend(), examples(2, LABELS[:1]))


@pytest.mark.parametrize("wrong", [{"num_shown": 0}, {"num_prompts": True}, {"recipes": ()}])
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        AutoSettings(**wrong)  # type: ignore[arg-type]
