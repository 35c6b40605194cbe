"""The trie of a closed set of texts: what may come next, and what must."""

from handful.engine.choices import Choices

EOS = [0]


def test_what_may_come_is_what_some_choice_goes_on_with() -> None:
    choices = Choices([[1, 2], [1, 3], [4]])
    assert choices.allowed([], EOS) == [1, 4]
    assert choices.allowed([1], EOS) == [2, 3]


def test_behind_a_choice_that_another_goes_on_from_the_text_may_end() -> None:
    choices = Choices([[1], [1, 2]])
    assert choices.needs_end
    assert choices.allowed([1], EOS) == [2, 0]
    assert choices.forced([1]) == ()
    assert not choices.is_over([1])


def test_what_must_come_goes_up_to_the_next_question() -> None:
    choices = Choices([[1, 2, 3, 4], [1, 2, 5, 6, 7]])
    assert not choices.needs_end
    assert choices.forced([]) == (1, 2)
    assert choices.forced([1, 2]) == ()
    assert choices.forced([1, 2, 5]) == (6, 7)
    assert choices.is_over([1, 2, 5, 6, 7])


def test_the_same_choice_twice_is_one() -> None:
    assert Choices([[1, 2], [1, 2]]).forced([]) == (1, 2)
