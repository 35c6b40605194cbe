"""The readings of a task by their names, and what they cost: known before anything is asked. `named` makes them."""

from dataclasses import dataclass

import numpy as np

from handful.learn import near
from handful.learn.auto_plan import compared_for
from handful.learn.auto_settings import AutoSettings
from handful.learn.calibrate import CALIBRATIONS
from handful.learn.recipe import RECIPES
from handful.learn.representation import classes_of
from handful.learn.tuned_prompts import NUM_TUNED_PROMPTS
from handful.task.calibration import CONTENT_FREE, NUM_RANDOM_TEXTS
from handful.task.task import Task
from handful.types import PrefixTuning

CALIBRATED = tuple(name for name in CALIBRATIONS if name != "none")
RECIPES_OF = {"auto": RECIPES, **{recipe.name: (recipe,) for recipe in RECIPES if recipe.name != "plain"}}
# `auto` whose prompts are tuned with the examples, too.
TUNED = "tuned"
RECIPES_OF[TUNED] = RECIPES
# The head on an encoder's vectors: no language model is asked.
ENCODER = "encoder"
NAMES = (*CALIBRATED, "channel", "knn", *near.NAMES, ENCODER, *RECIPES_OF)
TEXT_NAMES = near.NAMES  # for tasks that are answered in free text
NEED_ENCODER = (near.BY_ENCODER, ENCODER)
# Of the examples of kNN prompting, about how many its prompt shows; the others are its neighbours.
_KNN_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Work:
    """Prompts that a reading asks about: to get ready, and for each query; and different prefixes among them.

    What `auto` decides is taken at its most.

    num_own_examples  examples that each of these prompts shows beside its prefix, and shares with no other
    num_learned       examples that are read forwards and backwards while prompts are tuned, each as often as it is
    """

    to_fit: int
    a_query: int
    num_prefixes: int = 1
    num_own_examples: int = 0
    num_learned: int = 0


def work_of(name: str, task: Task, num_texts: int, prompt_epochs: int = PrefixTuning().num_epochs) -> Work:
    """What making it ready and each query ask of a model, before anything is asked. `num_texts`: for `batch`;
    `prompt_epochs`: for `tuned`."""
    num_probes = {"contextual": len(CONTENT_FREE), "domain": NUM_RANDOM_TEXTS, "batch": num_texts}
    if name in num_probes:
        return Work(num_probes[name], 1)
    if name == "channel":
        return Work(0, len(task.labels))
    if name == "knn":
        return Work(max(0, len(task.examples) - knn_shown(task)), 1)
    if name in near.NAMES:
        return Work(num_texts if task.is_closed else 0, 1, 0, near.num_shown(task))
    if name == ENCODER:
        return Work(0, 0, 0)
    recipes = RECIPES_OF[name]
    classes = classes_of([example.output for example in task.examples], task.labels)
    compared = compared_for(int(np.bincount(classes, minlength=len(task.labels)).min()), AutoSettings())
    num_readings = max(int(one.score_weight > 0) + int(one.kind is not None) for one in recipes)
    each = len(CONTENT_FREE) + NUM_RANDOM_TEXTS + 2 * len(task.examples)
    num_own = len(task.examples) if name == TUNED else 0  # each prompt learns from all but a part, and is asked of that
    return Work(
        compared.num_candidates * each + num_own,
        compared.num_prompts * num_readings,
        compared.num_candidates,
        num_learned=(NUM_TUNED_PROMPTS - 1) * num_own * prompt_epochs,
    )


def knn_shown(task: Task) -> int:
    """How many examples the prompt shows: the same of each label, about `_KNN_SHOWN` in all."""
    num_labels = len(task.labels)
    return num_labels * max(1, -(-_KNN_SHOWN // num_labels))
