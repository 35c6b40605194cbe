"""Task YAMLs of lm-evaluation-harness: plain templates become the same prompt, anything else is refused by name."""

from pathlib import Path

import pytest

from handful import Example
from handful.errors import HandfulError, TaskError
from handful.evals.lm_eval import Loaded, load_task
from handful.task.render import continuations, prompt

QUESTIONS = """
task: questions
dataset_path: some/data
output_type: generate_until
description: "Answer the question.\\n\\n"
doc_to_text: "Passage: {{passage}}\\nQuestion: {{ question }}\\nAnswer:"
doc_to_target: "{{answer}}"
generation_kwargs:
  until: ["\\n\\n", "Question:"]
  max_gen_toks: 32
  do_sample: false
  temperature: 0.7
metric_list:
  - metric: exact_match
"""
CHOICES = """
task: mood
output_type: multiple_choice
doc_to_text: "{{text}}\\nThe mood {of this} is"
doc_to_target: label
doc_to_choice: ["bad", "good"]
"""


def load(folder: Path, text: str) -> Loaded:
    path = folder / "task.yaml"
    path.write_text(text)
    return load_task(path)


def test_the_prompt_is_the_one_that_the_harness_makes(tmp_path: Path) -> None:
    task = load(tmp_path, QUESTIONS).task
    shown = task.with_examples([Example({"passage": "P1", "question": "Q1"}, "A1")])
    assert prompt(shown, {"passage": "P2", "question": "Q2"}) == (
        "Answer the question.\n\nPassage: P1\nQuestion: Q1\nAnswer: A1\n\nPassage: P2\nQuestion: Q2\nAnswer:"
    )


def test_how_it_is_generated_and_where_the_answer_stands(tmp_path: Path) -> None:
    found = load(tmp_path, QUESTIONS)
    assert found.label_column == "answer"
    parameters = found.task.generation
    assert (parameters.stop, parameters.max_new_tokens, parameters.temperature) == (("\n\n", "Question:"), 32, 0.0)


def test_choices_are_labels_and_their_numbers_names(tmp_path: Path) -> None:
    found = load(tmp_path, CHOICES)
    assert (found.task.labels, found.label_column) == (("bad", "good"), "label")
    assert found.label_names == {"0": "bad", "1": "good"}
    assert prompt(found.task, {"text": "{x}"}) == "{x}\nThe mood {of this} is"
    assert continuations(found.task) == (" bad", " good")


def test_a_handful_task_file_is_read_as_ever(tmp_path: Path) -> None:
    found = load(tmp_path, 'input: "In: {text}"\noutput: "Out: {output}"\n')
    assert (found.task.name, found.label_column, dict(found.label_names)) == ("task", None, {})
    with pytest.raises(HandfulError, match="no task file"):
        load_task(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('"{{answer}}"', "!function utils.target"), "!function"),
        (('"{{answer}}"', '"{{answer[0]}}"'), "`doc_to_target` must be one field"),
        (('"{{answer}}"', '"{{answer}} {{more}}"'), "`doc_to_target` must be one field"),
        (("{{ question }}", "{{ question | upper }}"), "`doc_to_text` holds more than plain"),
        (("{{ question }}", "{% if x %}y{% endif %}"), "`doc_to_text` holds more than plain"),
        (("\\nAnswer:", " Answer:"), "`doc_to_text` must end in a line of its own"),
        (("\\nAnswer:", "\\n{{options}} Answer:"), "`doc_to_text` must end in a line of its own"),
        (("Answer the question.", "{{subject}}"), "`description` holds a template"),
        (("output_type", "process_docs"), "`process_docs` can't be honoured"),
        (("output_type: generate_until", "include: base.yaml"), "`include` can't be honoured"),
        (("output_type: generate_until", "filter_list: []"), "`filter_list` can't be honoured"),
        (("max_gen_toks: 32", "top_k: 3"), r"`generation_kwargs\.top_k` can't be honoured"),
        (("output_type: generate_until", 'doc_to_choice: "{{choices}}"'), "`doc_to_choice` must be a list"),
        (("output_type: generate_until", "output_type: ["), "not YAML"),
        (("output_type: generate_until", "metadata: " + "[" * 5000), "nested too deeply|not YAML"),
        (('["\\n\\n", "Question:"]', "3"), "`generation_kwargs` can't be honoured"),
        (("max_gen_toks: 32", "max_gen_toks: many"), "`generation_kwargs` can't be honoured"),
        (
            ("do_sample: false\n  temperature: 0.7", "do_sample: true\n  temperature: hot"),
            "`generation_kwargs` can't be",
        ),
    ],
)
def test_what_can_not_be_honoured_is_refused_by_name(change: tuple[str, str], told: str, tmp_path: Path) -> None:
    assert change[0] in QUESTIONS
    with pytest.raises(TaskError, match=told):
        load(tmp_path, QUESTIONS.replace(*change))
