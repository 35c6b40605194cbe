"""Whitespace decisions and the texts that are scored."""

import pytest

from handful.task.render import continuations, prefix, prompt
from handful.task.task import Example, Task


def digits(**changes: object) -> Task:
    return Task(name="digits", labels=("1", "12", "2")).replace(**changes)


def test_a_prompt_ends_without_the_space_that_the_answer_starts_with() -> None:
    task = Task(name="x", output="Answer:  {output}", labels=("a", "b"))
    assert prompt(task, {"input": "q"}) == "Input: q\nAnswer:"
    assert continuations(task) == ("  a", "  b")


def test_a_line_break_before_the_answer_stays_in_the_prompt() -> None:
    task = Task(name="x", output="Answer:\n{output}", labels=("a", "b"))
    assert prompt(task, {"input": "q"}) == "Input: q\nAnswer:\n"
    assert continuations(task) == ("a", "b")


def test_an_output_template_without_a_lead_starts_a_line() -> None:
    task = Task(name="x", output="{output}", examples=(Example({"input": "q"}, "a"),))
    assert prompt(task, {"input": "r"}) == "Input: q\na\n###\nInput: r\n"


def test_labels_that_do_not_overlap_are_scored_without_an_ending() -> None:
    assert continuations(digits(labels=("1", "2"))) == (" 1", " 2")


def test_when_one_label_begins_another_all_get_the_ending() -> None:
    assert continuations(digits()) == (" 1\n", " 12\n", " 2\n")


@pytest.mark.parametrize(
    ("output", "separator", "ending"),
    [
        ("{output}", "\n\n", "\n\n"),
        ("{output}", "\n\n###\n", "\n\n"),
        ("{output}", "  \n###\n", "  \n"),
        ("{output}", " ###\n", " ###"),
        ('"{output}"', "\n###\n", '"'),
    ],
)
def test_the_ending_is_the_beginning_of_what_follows_an_output(output: str, separator: str, ending: str) -> None:
    task = digits(output=output, separator=separator)
    assert continuations(task)[0] == task.labels[0] + ending


def test_the_examples_show_what_is_scored() -> None:
    task = digits(examples=(Example({"input": "x"}, "12"),))
    assert prefix(task) == "Input: x\nOutput:" + continuations(task)[1] + "###\n"


def test_braces_in_values_mean_nothing() -> None:
    task = Task(name="x", input="{a} {b}")
    assert prompt(task, {"a": "{b} {{", "b": "{a.__class__}"}) == "{b} {{ {a.__class__}\nOutput:"


def test_doubled_braces_in_a_template_are_braces() -> None:
    assert prompt(Task(name="x", input="{{{a}}}"), {"a": "1"}) == "{1}\nOutput:"


def test_whitespace_around_values_does_not_count_and_inside_it_does() -> None:
    assert prompt(Task(name="x"), {"input": " \n a  b\n\nc \n"}) == "Input: a  b\n\nc\nOutput:"


def test_a_task_without_description_and_examples_has_no_prefix() -> None:
    assert prefix(Task(name="x")) == ""


def test_a_blank_description_leaves_no_empty_line() -> None:
    assert prefix(Task(name="x", description=" \n")) == ""
