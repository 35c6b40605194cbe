"""What makes a task, what is refused, and how it says so."""

from typing import Any

import pytest

from handful.errors import TaskError
from handful.task.task import Example, Task
from handful.types import GenerationParameters


def sentiment(**changes: Any) -> Task:
    fields: dict[str, Any] = {
        "name": "sentiment",
        "input": "Review: {review}",
        "output": "Sentiment: {output}",
        "labels": ("positive", "negative"),
        "examples": (Example({"review": "Lovely."}, "positive"),),
    }
    return Task(**(fields | changes))


def refusal(**changes: Any) -> str:
    with pytest.raises(TaskError) as caught:
        sentiment(**changes)
    return str(caught.value)


def refusal_of(data: object) -> str:
    with pytest.raises(TaskError) as caught:
        Task.from_dict(data)
    return str(caught.value)


def test_a_label_that_comes_twice_is_refused() -> None:
    assert "label 3: 'positive' is there already as label 1." in refusal(labels=("positive", "negative", "positive"))


@pytest.mark.parametrize(("label", "problem"), [("", "is empty"), ("  ", "is empty"), (" x", "must be one line")])
def test_a_label_without_a_clean_text_is_refused(label: str, problem: str) -> None:
    assert problem in refusal(labels=("positive", label))


def test_a_label_of_two_lines_is_refused() -> None:
    assert "must be one line" in refusal(labels=("positive", "nega\ntive"))


def test_a_single_label_is_refused() -> None:
    assert "nothing to choose" in refusal(labels=("positive",))


def test_an_example_whose_output_is_no_label_is_refused_with_the_nearest() -> None:
    message = refusal(examples=(Example({"review": "x"}, "positiv"),))
    assert message == "example 1, `output`: 'positiv' is none of the labels. Did you mean `positive`?"


def test_an_example_without_a_variable_is_refused_by_name() -> None:
    assert "example 1, `review`: is missing" in refusal(examples=(Example({}, "positive"),))


def test_an_example_with_a_variable_too_many_is_refused_by_name() -> None:
    message = refusal(examples=(Example({"review": "x", "reviev": "y"}, "positive"),))
    assert "example 1, `reviev`: is no variable" in message
    assert "Did you mean `review`?" in message


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", ".hidden", "x" * 65, "a\n"])
def test_a_name_that_could_be_a_path_or_a_line_is_refused(name: str) -> None:
    assert "`name`: can't be" in refusal(name=name)


@pytest.mark.parametrize(
    "template",
    [
        "{x.__class__}",
        "{x[0]}",
        "{x!r}",
        "{x:>9}",
        "{}",
        "{0}",
        "{x",
        "x}",
        "{a b}",
        "{x:{y}}",
        "{x.__init__.__globals__}",
    ],
)
def test_a_template_with_more_than_names_is_refused(template: str) -> None:
    message = refusal(input=template, examples=())
    assert message.startswith("`input`: ")
    assert "Only plain names" in message


def test_an_attribute_in_a_template_is_refused_by_name() -> None:
    assert "{x.__class__}" in refusal(input="{x.__class__}", examples=())


def test_an_input_template_without_a_variable_is_refused() -> None:
    assert "no place for the query" in refusal(input="Review:", examples=())


def test_an_input_variable_named_output_is_refused() -> None:
    assert "can't use {output}" in refusal(input="{output}", examples=())


@pytest.mark.parametrize("output", ["Sentiment:", "{label}", "{output} {output}", "{output} {x}"])
def test_an_output_template_needs_its_one_variable(output: str) -> None:
    assert "`output`: must hold the variable {output}" in refusal(output=output)


def test_a_separator_without_a_line_break_is_refused_with_one_that_works() -> None:
    assert r'Write separator: "\n--\n"' in refusal(separator="--")


def test_parameters_beside_labels_are_refused_because_they_would_do_nothing() -> None:
    assert "`parameters`, `temperature`: has no effect" in refusal(parameters=GenerationParameters(temperature=0.5))


def test_a_parameter_of_a_call_is_refused_in_a_task() -> None:
    message = refusal(labels=(), parameters=GenerationParameters(logprobs=3))
    assert "`logprobs`: belongs to a call" in message


def test_an_open_example_that_holds_the_end_sequence_is_refused() -> None:
    message = refusal(labels=(), examples=(Example({"review": "x"}, "one\n###\ntwo"),))
    assert "holds the end sequence '###'" in message


def test_labels_that_the_ending_cannot_tell_apart_are_refused() -> None:
    assert "can't be told apart" in refusal(output='"{output}"', labels=("1", '1" x'), examples=())


def test_half_a_surrogate_pair_is_refused() -> None:
    assert "surrogate" in refusal(description="\ud800")


def test_the_end_sequence_of_an_open_task_is_the_separator_without_its_whitespace() -> None:
    assert sentiment(labels=()).generation.stop == ("###",)


def test_a_separator_of_line_breaks_is_the_end_sequence_as_it_is() -> None:
    assert sentiment(labels=(), separator="\n\n").generation.stop == ("\n\n",)


def test_text_behind_the_output_is_the_end_sequence() -> None:
    assert sentiment(labels=(), output='Says "{output}"').generation.stop == ('"',)


def test_a_stop_of_the_tasks_own_is_kept() -> None:
    assert sentiment(labels=(), parameters=GenerationParameters(stop=("END",))).generation.stop == ("END",)


def test_equal_tasks_have_equal_fingerprints_and_others_do_not() -> None:
    assert sentiment().fingerprint == sentiment().fingerprint
    assert sentiment().fingerprint != sentiment(description="x").fingerprint


def test_replace_checks_the_copy() -> None:
    with pytest.raises(TaskError):
        sentiment().replace(labels=("yes", "no"))


def test_an_examples_values_do_not_change_with_the_callers_dict() -> None:
    values = {"review": "a"}
    example = Example(values, "positive")
    values["review"] = "b"
    assert example.inputs["review"] == "a"


def test_an_unknown_key_is_refused_by_name() -> None:
    message = refusal_of({"name": "x", "lables": ["a", "b"]})
    assert "`lables`: is no key of a task. Did you mean `labels`?" in message


def test_an_unknown_key_of_an_example_is_refused_by_name() -> None:
    message = refusal_of({"name": "x", "examples": [{"input": "a", "output": "b"}, {"input": "a", "ouput": "b"}]})
    assert "example 2, `ouput`: is no key of a task. Did you mean `output`?" in message


def test_an_unknown_parameter_is_refused_by_name() -> None:
    message = refusal_of({"name": "x", "parameters": {"temprature": 1}})
    assert "`parameters`, `temprature`" in message
    assert "Did you mean `temperature`?" in message


def test_a_parameter_out_of_range_is_refused_by_name() -> None:
    assert "`parameters`, `top_p`: must be more than 0" in refusal_of({"name": "x", "parameters": {"top_p": 0}})


def test_a_number_where_text_belongs_is_refused_with_quotes() -> None:
    assert 'label 1: must be text, not a number. Put it in quotes, as in "1".' in refusal_of(
        {"name": "x", "labels": [1, 2]}
    )


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_anything_but_a_mapping_is_refused(data: object) -> None:
    assert "A task is a mapping" in refusal_of(data)


@pytest.mark.parametrize("key", ["labels", "examples"])
def test_a_text_where_a_list_belongs_is_refused(key: str) -> None:
    assert f"`{key}`: must be a list" in refusal_of({"name": "x", key: "positive"})


def test_with_one_variable_an_example_may_say_input() -> None:
    task = Task.from_dict({"name": "x", "input": "Q: {question}", "examples": [{"input": "a", "output": "b"}]})
    assert task.examples == (Example({"question": "a"}, "b"),)


def test_with_two_variables_an_example_may_not_say_input() -> None:
    data = {"name": "x", "input": "{a} {b}", "examples": [{"input": "a", "output": "b"}]}
    assert "example 1, `input`: is no key" in refusal_of(data)


def test_a_stop_may_be_a_single_text() -> None:
    assert Task.from_dict({"name": "x", "parameters": {"stop": "END"}}).parameters.stop == ("END",)


def test_a_task_survives_plain_values() -> None:
    task = sentiment(version="2", model="default", description="d", separator="\n--\n")
    assert Task.from_dict(task.to_dict()) == task
