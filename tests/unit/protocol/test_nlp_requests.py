"""What the requests of the language tasks understand, in which forms, and how they refuse."""

import json
from typing import Any

import pytest

from handful.errors import InvalidParameterError, UserError
from handful.nlp_types import Conversation, NlpTask, Question
from handful.protocol.nlp_request import Asked
from handful.protocol.nlp_tasks import EXAMPLES, REQUESTS, TEXT_GENERATION, task_named
from handful.protocol.nlp_zero_shot import reads_lists
from handful.protocol.problems import InvalidRequestError

QA = {"question": "Who?", "context": "Clara."}
PAIR = {"source_sentence": "a", "sentences": ["b"]}
TABLE = {"query": "How many?", "table": {"Number": ["3"]}}


def asked(task: NlpTask, body: Any) -> Asked:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return REQUESTS[task].from_body(content).asked(task)


def refusal(task: NlpTask, body: Any) -> str:
    with pytest.raises(UserError) as refused:
        asked(task, body)
    error = refused.value
    return " ".join(error.problems) if isinstance(error, InvalidRequestError) else str(error)


@pytest.mark.parametrize("task", sorted(REQUESTS))
def test_the_documented_example_is_understood(task: NlpTask) -> None:
    made = asked(task, EXAMPLES[task])
    assert made.task == task
    assert made.items
    assert made.num_characters == sum(map(len, made.texts)) > 0


@pytest.mark.parametrize("task", sorted(REQUESTS))
def test_what_is_unset_may_be_null(task: NlpTask) -> None:
    parameters = EXAMPLES[task].get("parameters", {})
    assert isinstance(parameters, dict)
    body = EXAMPLES[task] | {"parameters": parameters | {"truncation": None}, "options": None, "stream": False}
    assert asked(task, body | {"model": None}) == asked(task, EXAMPLES[task])


@pytest.mark.parametrize("task", ["feature-extraction", "text-classification", "fill-mask", "summarization"])
def test_a_bare_text_or_list_is_the_inputs(task: NlpTask) -> None:
    assert asked(task, b"some text").items == asked(task, "some text").items == ("some text",)
    assert asked(task, ["a", "b"]).items == asked(task, {"inputs": ["a", "b"]}).items == ("a", "b")


def test_the_object_that_is_the_input_may_stand_without_inputs() -> None:
    assert asked("question-answering", QA).items == (Question("Who?", "Clara."),)
    assert asked("question-answering", QA | {"parameters": {"top_k": 2}}).options.top_k == 2
    assert asked("sentence-similarity", PAIR).items == (("a", ("b",)),)
    assert asked("table-question-answering", TABLE).items[0].query == "How many?"
    assert asked("conversational", {"text": "Hi"}).items == (Conversation("Hi"),)


def test_a_tables_question_has_two_names() -> None:
    table = {"Number": ["3"]}
    assert asked("table-question-answering", {"inputs": {"question": "a", "table": table}}).items[0].query == "a"
    assert len(asked("table-question-answering", {"inputs": {"query": ["a", "b"], "table": table}}).items) == 2


@pytest.mark.parametrize(
    ("task", "body", "sentence"),
    [
        ("question-answering", {"inputs": {"question": "a"}}, "Error in `inputs.context`: field required"),
        ("question-answering", {"inputs": [QA, {"question": "a"}]}, "Error in `inputs.1.context`: field required"),
        ("question-answering", {"inputs": QA | {"more": 1}}, "Error in `inputs.more`: unknown key"),
        ("sentence-similarity", {"inputs": {"sentences": ["a"]}}, "Error in `inputs.source_sentence`: field required"),
        ("zero-shot-classification", {"inputs": "a"}, "Error in `parameters.candidate_labels`: field required"),
        ("text-classification", {"inputs": "a", "parameters": {"topk": 1}}, "Error in `parameters.topk`: unknown key"),
        ("text-classification", {"inputs": "a", "top_k": 1}, "Error in `top_k`: unknown key. It belongs under `param"),
        ("feature-extraction", {"inputs": "a", "wait_for_model": True}, "It belongs under `options`"),
        ("fill-mask", {"inputs": 3}, "Error in `inputs`: should be a string or a list of strings"),
        ("fill-mask", {"inputs": "a", "options": {"use_gpu": "yes"}}, "Error in `options.use_gpu`"),
        ("summarization", {"parameters": {}}, "Error in `inputs`: field required"),
        (
            "table-question-answering",
            {"inputs": {"query": "a", "table": {"b": [1]}}},
            "lists of strings as its columns",
        ),
        ("table-question-answering", {"inputs": {"query": "a", "table": [["b"]]}}, "should be an object"),
    ],
)
def test_what_does_not_fit_is_named(task: NlpTask, body: Any, sentence: str) -> None:
    assert sentence in refusal(task, body)


@pytest.mark.parametrize(
    ("task", "body", "name"),
    [
        ("zero-shot-classification", {"inputs": "a"}, "candidate_labels"),
        ("text-classification", {"inputs": "a", "parameters": {"top_k": "two"}}, "top_k"),
        ("text-classification", {"inputs": "a", "parameters": {"topk": 1}}, "topk"),
        ("text-classification", {"inputs": "a", "parameters": 3}, "parameters"),
        ("table-question-answering", {"inputs": TABLE, "parameters": {"truncation": 3}}, "truncation"),
        ("summarization", {"inputs": "a", "parameters": {"generate_parameters": {"top_k": "two"}}}, "top_k"),
        ("fill-mask", {"inputs": "a", "options": {"use_gpu": "yes"}}, "use_gpu"),
        ("fill-mask", {"inputs": "a", "parameters": {"top_k": "two", "truncation": "no"}}, ""),
        ("fill-mask", {"inputs": 3}, ""),
        ("question-answering", {"inputs": {"question": "a"}}, ""),
    ],
)
def test_a_parameter_that_alone_does_not_fit_is_named_by_itself(task: NlpTask, body: Any, name: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        asked(task, body)
    assert refused.value.parameter == name


@pytest.mark.parametrize(
    ("task", "parameters", "name"),
    [
        ("text-classification", {"top_k": 0}, "top_k"),
        ("text-classification", {"function_to_apply": "relu"}, "function_to_apply"),
        ("fill-mask", {"top_k": -1}, "top_k"),
        ("fill-mask", {"targets": [""]}, "targets"),
        ("token-classification", {"aggregation_strategy": "most"}, "aggregation_strategy"),
        ("token-classification", {"stride": -1}, "stride"),
        ("question-answering", {"max_answer_len": 0}, "max_answer_len"),
        ("question-answering", {"top_k": 2**40}, "top_k"),
        ("table-question-answering", {"padding": "max_length"}, "padding"),
        ("table-question-answering", {"truncation": "only_second"}, "truncation"),
        ("zero-shot-classification", {"candidate_labels": []}, "candidate_labels"),
        ("zero-shot-classification", {"candidate_labels": ["a", "a"]}, "candidate_labels"),
        ("zero-shot-classification", {"candidate_labels": ["a"], "hypothesis_template": "x"}, "hypothesis_template"),
        (
            "zero-shot-classification",
            {"candidate_labels": ["a"], "multi_label": True, "multi_class": False},
            "multi_class",
        ),
        ("feature-extraction", {"dimensions": 3}, "dimensions"),
        ("feature-extraction", {"encoding_format": "base64"}, "encoding_format"),
        ("feature-extraction", {"truncation_direction": "up"}, "truncation_direction"),
        ("summarization", {"temperature": 101}, "temperature"),
        ("summarization", {"repetition_penalty": -1}, "repetition_penalty"),
        ("summarization", {"min_length": 9, "max_length": 3}, "min_length"),
        ("summarization", {"num_return_sequences": 11}, "num_return_sequences"),
        ("translation", {"generate_parameters": {"num_beams": 1000}}, "num_beams"),
        ("translation", {"num_beams": 2, "generate_parameters": {"num_beams": 3}}, "num_beams"),
        ("text2text-generation", {"max_time": -1}, "max_time"),
        ("conversational", {"num_return_sequences": 2}, "num_return_sequences"),
    ],
)
def test_a_parameter_that_can_not_be_honoured_is_refused_by_name(
    task: NlpTask, parameters: dict[str, Any], name: str
) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        asked(task, EXAMPLES[task] | {"parameters": parameters})
    assert refused.value.parameter == name


@pytest.mark.parametrize("task", sorted(REQUESTS))
def test_nothing_of_these_is_streamed(task: NlpTask) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        asked(task, EXAMPLES[task] | {"stream": True})
    assert refused.value.parameter == "stream"


@pytest.mark.parametrize("inputs", ["", " ", [], ["a", ""]])
@pytest.mark.parametrize("task", ["feature-extraction", "text-classification", "fill-mask", "translation"])
def test_an_empty_input_is_refused(task: NlpTask, inputs: Any) -> None:
    assert "`inputs` is empty" in refusal(task, {"inputs": inputs})


def test_parameters_of_feature_extraction_stand_beside_the_inputs_or_below() -> None:
    beside = asked("feature-extraction", {"inputs": "a", "normalize": True, "truncate": True, "prompt_name": "query"})
    below = {"normalize": True, "truncate": True, "prompt_name": "query"}
    assert beside == asked("feature-extraction", {"inputs": "a", "parameters": below})
    assert beside == asked("feature-extraction", {"inputs": "a", "normalize": True, "parameters": below})
    assert "given twice" in refusal("feature-extraction", {"inputs": "a", "normalize": False, "parameters": below})


def test_labels_may_be_one_string_between_commas() -> None:
    made = asked("zero-shot-classification", {"inputs": "a", "parameters": {"candidate_labels": "x, y ,z"}})
    assert made.options.candidate_labels == ("x", "y", "z")
    assert made.answers_each == 3


def test_multi_class_is_the_older_name_of_multi_label() -> None:
    labels = {"candidate_labels": ["x", "y"]}
    old = asked("zero-shot-classification", {"inputs": "a", "parameters": labels | {"multi_class": True}})
    assert old.options.multi_label


@pytest.mark.parametrize(
    ("parameters", "is_repeatable", "is_alone"),
    [
        ({}, False, False),  # the model's own settings may sample
        ({"do_sample": False}, True, False),
        ({"temperature": 0}, True, False),
        ({"do_sample": True, "seed": 3}, True, True),
        ({"do_sample": False, "max_time": 3}, False, False),
    ],
)
def test_a_text_is_repeatable_where_neither_chance_nor_clock_has_a_part(
    parameters: dict[str, Any], is_repeatable: bool, is_alone: bool
) -> None:
    made = asked("summarization", {"inputs": "a", "parameters": parameters})
    assert (made.is_repeatable, made.is_alone) == (is_repeatable, is_alone)


def test_queries_that_follow_from_each_other_stay_alone() -> None:
    assert asked("table-question-answering", {"inputs": TABLE, "parameters": {"sequential": True}}).is_alone
    assert not asked("table-question-answering", TABLE).is_alone


def test_a_task_is_named_as_it_is() -> None:
    assert task_named(TEXT_GENERATION) == TEXT_GENERATION
    assert task_named("fill-mask") == "fill-mask"
    with pytest.raises(UserError, match="is no task"):
        task_named("Fill-Mask")


@pytest.mark.parametrize(
    ("headers", "as_lists"),
    [
        ({}, False),
        ({"user-agent": "python-requests/2.34.2"}, False),
        ({"user-agent": "unknown/None; hf_hub/2.4.0; python/3.11.7"}, True),
        ({"user-agent": "unknown/None; hf_hub/1.1.5; python/3.11.7"}, True),
        ({"user-agent": "unknown/None; hf_hub/1.2.0.dev0; python/3.11.7"}, True),
        ({"user-agent": "unknown/None; hf_hub/1.1.4; python/3.11.7"}, False),
        ({"user-agent": "unknown/None; hf_hub/0.36.0; python/3.11.7"}, False),
        ({"user-agent": "hf_hub/9"}, False),
        ({"user-agent": "@huggingface/inference/4.13.28"}, True),
        ({"user-agent": "hf_hub/2.4.0", "x-zero-shot-shape": "dict"}, False),
        ({"x-zero-shot-shape": "list"}, True),
    ],
)
def test_the_shape_of_zero_shot_answers_is_chosen_by_the_client(headers: dict[str, str], as_lists: bool) -> None:
    assert reads_lists(headers) is as_lists


def test_a_shape_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="must be dict or list"):
        reads_lists({"x-zero-shot-shape": "tuple"})
