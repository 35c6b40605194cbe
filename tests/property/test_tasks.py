"""Laws of tasks: what is saved is read back, prompts share their prefix, labels share one probability."""

import math
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from handful.task.fit import Fitter, dropping_order
from handful.task.parse import most_probable, probabilities_of
from handful.task.predict import count_now
from handful.task.render import continuations, prefix, prompt
from handful.task.task import Example, Task
from handful.task.task_yaml import dump_yaml, parse_yaml
from handful.types import GenerationParameters

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
AWKWARD = st.sampled_from(
    ["yes", "null", "1", "- a", "#", "a: b", "'", '"', "|", " x", "x ", "\t", "a\r\nb", "\x85", "\n"]
)
VALUE = TEXT | AWKWARD
FULL = VALUE.filter(lambda text: bool(text.strip()))
LABEL = FULL.map(str.strip).filter(lambda text: len(text.splitlines()) == 1)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    labels = tuple(draw(st.lists(LABEL, min_size=2, max_size=5, unique=True))) if draw(st.booleans()) else ()
    outputs = st.sampled_from(labels) if labels else FULL.filter(lambda text: "###" not in text)
    example = st.builds(
        lambda left, right, output: Example({"left": left, "right": right}, output), FULL, FULL, outputs
    )
    parameters = st.builds(
        GenerationParameters,
        max_new_tokens=st.integers(0, 500),
        temperature=st.floats(0, 2),
        top_k=st.none() | st.integers(1, 100),
    )
    return Task(
        name=draw(st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)),
        description=draw(VALUE),
        input="{left} and {right}",
        labels=labels,
        calibration=draw(st.sampled_from(["auto", "none"])) if labels else "auto",
        abstain_below=draw(st.none() | st.floats(0.01, 1)) if labels else None,
        examples=tuple(draw(st.lists(example, max_size=5))),
        parameters=GenerationParameters() if labels else draw(parameters),
        version=draw(st.none() | FULL),
    )


@given(tasks())
@settings(max_examples=60, deadline=None)
def test_a_task_survives_its_file_and_plain_values(task: Task) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.yaml"
        task.save(path)
        assert Task.load(path) == task
    assert Task.from_dict(task.to_dict()) == task
    assert hash(Task.from_dict(task.to_dict())) == hash(task)


@given(VALUE)
@settings(max_examples=200, deadline=None)
def test_any_text_survives_yaml(text: str) -> None:
    assert parse_yaml(dump_yaml({"key": text, "list": [{"a": text}], "labels": [text]}))[0] == {
        "key": text,
        "list": [{"a": text}],
        "labels": [text],
    }


@given(tasks(), FULL, FULL)
@settings(max_examples=60, deadline=None)
def test_every_prompt_starts_with_the_prefix_and_ends_without_a_space(task: Task, left: str, right: str) -> None:
    rendered = prompt(task, {"left": left, "right": right})
    assert rendered.startswith(prefix(task))
    assert rendered.endswith("Output:")
    assert left.strip() in rendered


@given(tasks())
@settings(max_examples=60, deadline=None)
def test_no_scored_text_begins_another(task: Task) -> None:
    texts = continuations(task)
    assert not any(a != b and b.startswith(a) for a in texts for b in texts)
    assert len(set(texts)) == len(task.labels)


@given(tasks(), FULL, st.integers(200, 1500))
@settings(max_examples=60, deadline=None)
def test_what_is_dropped_keeps_labels_balanced_and_the_rest_in_order(task: Task, text: str, room: int) -> None:
    values = {"left": text, "right": "x"}
    bare = len(prompt(task.with_examples(()), values).encode())
    fitter = Fitter(task, bare + task.generation.max_new_tokens + room)
    fit = count_now(fitter.fit(values), lambda asked: len(asked.encode()))
    gone = set(dropping_order(task)[: fit.num_dropped])
    kept = [example for index, example in enumerate(task.examples) if index not in gone]
    assert fit.prompt == prompt(task.with_examples(kept), values)
    if task.is_closed and gone:
        dropped_from = {task.examples[index].output for index in gone}
        left = [sum(example.output == label for example in kept) for label in task.labels]
        most_left = max(left)
        assert all(most_left - sum(example.output == label for example in kept) <= 1 for label in dropped_from)


@given(st.lists(st.floats(-1e4, 0), min_size=2, max_size=8))
def test_probabilities_sum_to_one_and_the_prediction_is_the_highest(logprobs: list[float]) -> None:
    labels = [f"l{index}" for index in range(len(logprobs))]
    probabilities = probabilities_of(labels, logprobs)
    assert math.isclose(sum(probabilities.values()), 1.0, rel_tol=1e-9)
    assert probabilities[most_probable(probabilities)] == max(probabilities.values())
