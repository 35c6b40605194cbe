from handful.task.review import Repetition, repetitions
from handful.task.task import Example


def made(*pairs: tuple[str, str]) -> list[Example]:
    return [Example({"text": text}, output) for text, output in pairs]


def test_the_same_input_with_different_outputs_is_a_conflict_and_comes_first() -> None:
    found = repetitions(made(("a joy", "good"), ("dull", "bad"), ("a joy", "good"), ("dull", "good")))
    assert found == (Repetition(1, 3, ("bad", "good")), Repetition(0, 2, ("good", "good")))
    assert [one.is_conflict for one in found] == [True, False]
    assert [str(one) for one in found] == [
        "Examples 2 and 4 have the same input and different outputs, `bad` and `good`.",
        "Examples 1 and 3 have the same input and the same output.",
    ]


def test_capitals_and_whitespace_make_no_difference() -> None:
    assert len(repetitions(made(("A  Joy\n", "good"), ("a joy", "good ")))) == 1


def test_a_word_more_does() -> None:
    assert repetitions(made(("a joy", "good"), ("a joy!", "bad"))) == ()


def test_all_variables_count() -> None:
    examples = [
        Example({"a": "1", "b": "2"}, "x"),
        Example({"a": "2", "b": "1"}, "y"),
        Example({"b": "2", "a": "1"}, "y"),
    ]
    assert repetitions(examples) == (Repetition(0, 2, ("x", "y")),)
