"""How much `auto` may spend, and what it chooses from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from handful.errors import InvalidParameterError
from handful.learn.ngrams import Encoder
from handful.learn.recipe import RECIPES, Recipe
from handful.learn.tuned import Progress
from handful.types import EncoderTuning, PrefixTuning


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoSettings:
    """How much `auto` may spend, and what it chooses from.

    num_shown    examples in one prompt. None: all of them where no head can learn from the others, and else the
                 smallest multiple of the number of labels that is at least 4 (8 with 16 examples of every label)
    num_prompts  most prompts that are averaged; a query costs one or two passes through the model for each.
                 None: 2, and 4 with 16 examples of every label
    num_deals    deals of examples that are compared, each in an order and its reverse, for the best `num_prompts` to be
                 kept; no more than `num_prompts` of them leaves nothing to choose. Fitting costs a pass through the
                 model for each deal, order and example. None: two more than prompts
    recipes      what to choose from; plain scoring is always judged beside them
    encoder      what the recipes with an encoder read; they are left out without one
    tuning       tune the encoder with the examples: once with all of them, and for the evidence without those that are
                 held out
    prompt_tuning  tune prompts with the examples, and take them where they say more of held-out examples than what is
                 chosen otherwise
    advance      is told the steps of tuning that are done, and of how many
    synonyms     label -> further words that mean it (see `Reader`)
    """

    num_shown: int | None = None
    num_prompts: int | None = None
    num_deals: int | None = None
    recipes: tuple[Recipe, ...] = RECIPES
    encoder: Encoder | None = None
    tuning: EncoderTuning | None = None
    prompt_tuning: PrefixTuning | None = None
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
