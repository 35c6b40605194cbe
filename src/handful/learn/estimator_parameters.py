"""What a classifier's parameters come to, once its classes are known: its task, and how `auto` is to choose."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from handful.checks import check_integer
from handful.errors import InvalidParameterError
from handful.learn.auto_settings import AutoSettings
from handful.learn.ngrams import Encoder
from handful.learn.recipe import ENCODER_RECIPES, RECIPES, Recipe
from handful.task.problem import did_you_mean, join_words
from handful.task.task import Task
from handful.types import EncoderTuning, PrefixTuning

ALL_RECIPES = (*RECIPES, *ENCODER_RECIPES)
_MOST_STEPS = 100_000
_MOST_EPOCHS = 1_000


class Parameters(Protocol):
    """Those of `FewShotClassifier`, which says what they mean."""

    input: str
    output: str
    description: str
    separator: str
    label_words: Mapping[Any, str] | None
    synonyms: Mapping[Any, Sequence[str]] | None
    encoder: Encoder | None
    encoder_steps: int
    prompt_epochs: int
    recipe: str
    num_shown: int | None
    num_prompts: int | None
    num_deals: int | None
    random_state: int


def task_of(asked: Parameters, classes: NDArray[Any]) -> Task:
    """The task that asks for one of `classes`. InvalidParameterError for words that don't fit them."""
    words = dict(asked.label_words or {})
    _check_classes("label_words", words, classes)
    labels = tuple(str(words.get(one, one)) for one in classes.tolist())
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        fix = "Give each class a word of its own."
        raise InvalidParameterError("label_words", f"lets {twice!r} stand for two classes.", fix=fix)
    return Task(
        name="classifier",
        description=asked.description,
        input=asked.input,
        output=asked.output,
        separator=asked.separator,
        labels=labels,
    )


def settings_of(asked: Parameters, classes: NDArray[Any], labels: tuple[str, ...]) -> AutoSettings:
    """How `auto` is to choose. InvalidParameterError naming the parameter that can't be honoured."""
    given = dict(asked.synonyms or {})
    _check_classes("synonyms", given, classes)
    synonyms = {label: given[one] for one, label in zip(classes.tolist(), labels, strict=True) if one in given}
    recipes = _recipes(asked.recipe)
    usual = 1 if asked.recipe == "plain" else None
    if isinstance(asked.random_state, bool) or not isinstance(asked.random_state, int) or asked.random_state < 0:
        raise InvalidParameterError("random_state", f"must be a whole number from 0, not {asked.random_state!r}.")
    return AutoSettings(
        num_shown=asked.num_shown,
        num_prompts=usual if asked.num_prompts is None else asked.num_prompts,
        num_deals=usual if asked.num_deals is None else asked.num_deals,
        recipes=recipes,
        encoder=asked.encoder,
        tuning=_tuning(asked),
        prompt_tuning=_prompt_tuning(asked),
        synonyms=synonyms,
        seed=asked.random_state,
    )


def _tuning(asked: Parameters) -> EncoderTuning | None:
    check_integer("encoder_steps", asked.encoder_steps, 0, _MOST_STEPS)
    if not asked.encoder_steps:
        return None
    if asked.encoder is None:
        raise InvalidParameterError("encoder_steps", "needs an encoder to tune.", fix="Give `encoder`.")
    if not any(recipe.encoder_kind for recipe in _recipes(asked.recipe)):
        problem = f"tunes an encoder that the recipe {asked.recipe!r} doesn't read."
        raise InvalidParameterError("encoder_steps", problem, fix='Use "auto" or a recipe with an encoder.')
    return EncoderTuning(num_steps=asked.encoder_steps, seed=asked.random_state)


def _prompt_tuning(asked: Parameters) -> PrefixTuning | None:
    check_integer("prompt_epochs", asked.prompt_epochs, 0, _MOST_EPOCHS)
    if not asked.prompt_epochs:
        return None
    if asked.recipe != "auto":
        problem = f"tunes prompts that the recipe {asked.recipe!r} doesn't ask with."
        raise InvalidParameterError("prompt_epochs", problem, fix='Use "auto".')
    if asked.synonyms:
        problem = "can't be read behind tuned prompts, which learn one word for each class."
        raise InvalidParameterError("synonyms", problem, fix="Leave `synonyms` or `prompt_epochs` out.")
    return PrefixTuning(num_epochs=asked.prompt_epochs, seed=asked.random_state)


def _check_classes(name: str, given: Mapping[Any, Any], classes: NDArray[Any]) -> None:
    for known in given:
        if known not in classes.tolist():
            listed = join_words(map(str, classes.tolist()[:20]))
            raise InvalidParameterError(name, f"names {known!r}, which is no class.", fix=f"Classes: {listed}.")


def _recipes(name: str) -> tuple[Recipe, ...]:
    by_name: dict[str, Sequence[Recipe]] = {"auto": ALL_RECIPES, **{recipe.name: (recipe,) for recipe in ALL_RECIPES}}
    if name not in by_name:
        fix = did_you_mean(str(name), by_name)
        raise InvalidParameterError("recipe", f"must be one of {join_words(by_name)}, not {name!r}.", fix=fix)
    return tuple(by_name[name])
