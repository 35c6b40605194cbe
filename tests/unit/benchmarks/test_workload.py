"""The prompts: the reference ones stay as they are, and no round sees another's."""

import hashlib

from shapes import SHAPES, num_parameters
from workload import prefix, prompts, unshared


def test_the_reference_workload_is_the_one_that_was_measured_before() -> None:
    text = "\n".join(prompts(256))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "89b4169cca6a04ad"


def test_a_round_of_its_own_shares_only_the_task_line() -> None:
    first, second = prefix(4, variant=0), prefix(4, variant=1)
    assert first != second
    assert all(prompt.startswith(second) for prompt in prompts(3, 4, variant=1))


def test_prompts_that_share_nothing_differ_from_the_first_word() -> None:
    texts = unshared(5)
    assert len({text.split()[0] for text in texts}) == 5
    assert unshared(5) == texts
    assert unshared(5, variant=1) != texts


def test_the_shapes_have_the_published_numbers_of_parameters() -> None:
    counted = {name: num_parameters(name) for name in SHAPES if name.startswith("gpt-neo")}
    assert list(counted.values()) == [125_198_592, 1_315_575_808, 2_651_307_520]
