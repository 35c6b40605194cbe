"""What `auto` can do with so many examples: how many a prompt shows, and which recipes have enough to learn from."""

from dataclasses import dataclass

import numpy as np

from handful.errors import InvalidInputError
from handful.learn.auto_settings import AutoSettings
from handful.learn.probability import Classes
from handful.learn.recipe import Recipe
from handful.task.problem import join_words

# From how many examples of each class behind every prompt a head on the hidden states is worth fitting.
_FEWEST_READ = 4
# About how many examples a prompt shows where the others teach a head; more where a class has `_MANY`.
_SHOWN = 4
_SHOWN_OF_MANY = 8
# How many prompts are averaged, likewise; and how many more deals are compared for them.
_PROMPTS = 2
_PROMPTS_OF_MANY = 4
_MORE_DEALS = 2
_MANY = 16
# From how many examples of each class tuning prompts is not learning by heart.
_FEWEST_TUNED = 32


@dataclass(frozen=True, slots=True)
class Compared:
    """How many prompts are averaged, and of how many deals they are the best."""

    num_prompts: int
    num_deals: int

    @property
    def leaves_a_choice(self) -> bool:
        """Whether there are more deals than prompts that are kept."""
        return self.num_deals > self.num_prompts

    @property
    def num_candidates(self) -> int:
        """Prompts that are read: each deal in an order and its reverse, where there is something to choose."""
        return 2 * self.num_deals if self.leaves_a_choice else self.num_prompts


def compared_for(fewest: int, settings: AutoSettings) -> Compared:
    """What `settings` come to where the rarest label has `fewest` examples."""
    num_prompts = settings.num_prompts or (_PROMPTS_OF_MANY if fewest >= _MANY else _PROMPTS)
    return Compared(num_prompts, max(settings.num_deals or num_prompts + _MORE_DEALS, num_prompts))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to try, and behind prompts of how many examples.

    shows_all   whether every prompt shows all examples: where no head is to learn, and no smaller number was asked for
    """

    num_shown: int
    compared: Compared
    recipes: tuple[Recipe, ...]
    shows_all: bool

    @property
    def needs_states(self) -> bool:
        """Whether a recipe reads hidden states."""
        return any(recipe.kind is not None for recipe in self.recipes)

    @property
    def needs_encoder(self) -> bool:
        """Whether a recipe reads an encoder's vectors."""
        return any(recipe.encoder_kind is not None for recipe in self.recipes)


def plan_for(classes: Classes, labels: tuple[str, ...], settings: AutoSettings) -> Plan:
    """What `settings` come to with labelled examples of these classes.

    Raises InvalidInputError when a label has no example, or too few for all that was asked for.
    """
    counts = np.bincount(classes, minlength=len(labels))
    missing = [label for label, count in zip(labels, counts, strict=True) if not count]
    if missing:
        fix = "Give at least one of each, or leave the label out."
        raise InvalidInputError(f"No example has the label {join_words(missing[:20])}.", fix=fix)
    fewest = int(counts.min())
    wanted = _SHOWN_OF_MANY if fewest >= _MANY else _SHOWN
    num_shown = settings.num_shown or len(labels) * max(1, -(-wanted // len(labels)))

    # Behind each prompt enough examples of every class must stay for a head to learn from.
    num_shown_each = -(-num_shown // len(labels))
    has_enough = fewest - num_shown_each >= _FEWEST_READ
    offered = [one for one in settings.recipes if one.encoder_kind is None or settings.encoder is not None]
    recipes = tuple(recipe for recipe in offered if has_enough or not recipe.has_head)
    has_head = any(recipe.has_head for recipe in recipes)
    asks_for_fewer = settings.num_shown is not None and settings.num_shown < len(classes)
    compared = compared_for(fewest, settings)
    plan = Plan(num_shown, compared, recipes, shows_all=not has_head and not asks_for_fewer)
    if not recipes:
        raise _too_few("A head", num_shown_each, fewest)
    if settings.tuning is not None and not plan.needs_encoder:
        raise _too_few("Tuning an encoder", num_shown_each, fewest)
    if settings.prompt_tuning is not None and (fewest < _FEWEST_TUNED or plan.shows_all):
        problem = f"Tuning prompts needs {_FEWEST_TUNED} examples of every label; the rarest has {fewest}."
        raise InvalidInputError(problem, fix="Give more examples, or tune no prompts.")
    return plan


def _too_few(what: str, num_shown_each: int, fewest: int) -> InvalidInputError:
    needed = num_shown_each + _FEWEST_READ
    problem = f"{what} needs {needed} examples of every label ({_FEWEST_READ} that its prompt doesn't show)"
    fix = "Give more examples, lower `num_shown`, or use the recipe `calibrated`."
    return InvalidInputError(f"{problem}; the rarest has {fewest}.", fix=fix)
