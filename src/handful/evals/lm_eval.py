"""Task YAMLs of lm-evaluation-harness, read for their prompts: only plain `{{field}}` templates, nothing executed.

    doc_to_text: "Question: {{question}}\\nAnswer:"      input: "Question: {question}"
    doc_to_target: "{{answer}}"                    ->    output: "Answer: {output}"
    target_delimiter: " "                                the column `answer` of the data

Keys about where data come from or which metrics are taken are left aside; what changes a prompt or an answer and
can't be honoured (`!function`, Jinja's logic, `include`, filters) is refused by name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from handful.errors import InvalidParameterError, NotFoundError, TaskError
from handful.task.problem import join_words
from handful.task.task import Task
from handful.types import GenerationParameters

_PROMPT_KEYS = (
    "task",
    "description",
    "doc_to_text",
    "doc_to_target",
    "doc_to_choice",
    "target_delimiter",
    "fewshot_delimiter",
    "generation_kwargs",
)
# They say where data come from, how results are grouped and reported, not what a model is shown.
_OTHER_KEYS = (
    *("dataset_path", "dataset_name", "dataset_kwargs", "training_split", "validation_split", "test_split"),
    *("fewshot_split", "num_fewshot", "output_type", "metric_list", "metadata", "tag", "group", "task_alias"),
    *("should_decontaminate", "doc_to_decontamination_query"),
)
_GENERATION_KEYS = ("until", "max_gen_toks", "temperature", "do_sample")
_FIELD = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")
_IS_LM_EVAL = re.compile(r"^doc_to_(text|target)\s*:", re.MULTILINE)
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Loaded:
    """A task, and what its file says of data: the answer's column, and what numbers stand for which label."""

    task: Task
    label_column: str | None = None
    label_names: Mapping[str, str] = field(default_factory=dict)


def load_task(path: Path) -> Loaded:
    """Read a task file of either kind. Raises `NotFoundError`, and `TaskError` naming the key."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode(errors="replace")
    except OSError:
        return Loaded(Task.load(path))  # which says why
    return _from_lm_eval(path, text) if _IS_LM_EVAL.search(text) else Loaded(Task.load(path))


def _from_lm_eval(path: Path, text: str) -> Loaded:
    try:
        found = yaml.safe_load(text)
    except yaml.constructor.ConstructorError as error:
        problem = str(error.problem)
        fix = "Only texts and {{field}} templates are read: nothing in a file is executed."
        raise TaskError(f"{path}: {problem}.", fix=fix) from None
    except RecursionError:
        raise TaskError(f"{path}: nested too deeply.") from None
    except yaml.YAMLError as error:
        raise TaskError(f"{path}: not YAML: {getattr(error, 'problem', error)}.") from None
    if not isinstance(found, dict):
        raise NotFoundError(f"{path} holds no task.")
    _refuse_others(path, found)
    return _Reader(path, found).read()


def _refuse_others(path: Path, found: Mapping[Any, Any]) -> None:
    for key in found:
        if key not in (*_PROMPT_KEYS, *_OTHER_KEYS):
            fix = "Write the task as a handful task file instead."
            raise TaskError(f"{path}: `{key}` can't be honoured.", fix=fix)


@dataclass(frozen=True, slots=True)
class _Reader:
    """One file's keys, turned into a task."""

    path: Path
    keys: Mapping[str, Any]

    def read(self) -> Loaded:
        prompt = self._template("doc_to_text")
        before, line_break, lead = prompt.rpartition("\n")
        if not line_break or "{" in lead.replace("{{", ""):
            problem = "must end in a line of its own for the answer, without a field in it"
            raise self._refused("doc_to_text", problem)
        labels = self._labels()
        delimiter = self._text("target_delimiter", " ")
        task = Task(
            name=self._text("task", self.path.stem),
            description=self._description(),
            input=before,
            output=lead + delimiter.replace("{", "{{").replace("}", "}}") + "{output}",
            separator=self._text("fewshot_delimiter", "\n\n"),
            labels=labels,
            parameters=self._parameters(),
        )
        names = {str(number): label for number, label in enumerate(labels)}
        return Loaded(task, self._target(), names)

    def _text(self, key: str, default: str) -> str:
        value = self.keys.get(key, default)
        if not isinstance(value, str):
            raise self._refused(key, "must be text")
        return value

    def _description(self) -> str:
        description = self._text("description", "")
        if "{{" in description or "{%" in description:
            raise self._refused("description", "holds a template, which a description can't")
        return description

    def _template(self, key: str) -> str:
        """A template with {name} for each {{name}}, and literal braces doubled. A bare word is a field's name."""
        text = self._text(key, "")
        if text.isidentifier():
            return "{" + text + "}"
        pieces = _FIELD.split(text)
        literals = pieces[::2]
        if any(mark in literal for literal in literals for mark in ("{{", "}}", "{%", "{#")):
            raise self._refused(key, "holds more than plain {{field}}s")
        escaped = [literal.replace("{", "{{").replace("}", "}}") for literal in literals]
        names = ["{" + name + "}" for name in pieces[1::2]]
        return "".join(part for pair in zip(escaped, [*names, ""], strict=True) for part in pair)

    def _target(self) -> str:
        """The column of the answer."""
        text = self._text("doc_to_target", "").strip()
        found = _FIELD.fullmatch(text)
        if found is None and not text.isidentifier():
            raise self._refused("doc_to_target", "must be one field, such as {{answer}}")
        return found.group(1) if found else text

    def _labels(self) -> tuple[str, ...]:
        choices = self.keys.get("doc_to_choice", [])
        if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
            raise self._refused("doc_to_choice", "must be a list of texts, the same for all rows")
        return tuple(choices)

    def _parameters(self) -> GenerationParameters:
        given = self.keys.get("generation_kwargs", {})
        if not isinstance(given, dict):
            raise self._refused("generation_kwargs", "must be a mapping")
        for key in given:
            if key not in _GENERATION_KEYS:
                raise self._refused(
                    f"generation_kwargs.{key}", f"can't be honoured ({join_words(_GENERATION_KEYS)} can)"
                )
        until = given.get("until", ())
        try:
            return GenerationParameters(
                max_new_tokens=given.get("max_gen_toks", GenerationParameters().max_new_tokens),
                temperature=float(given.get("temperature", 0.0)) if given.get("do_sample", False) else 0.0,
                stop=(until,) if isinstance(until, str) else tuple(until),
            )
        except (TypeError, ValueError, InvalidParameterError) as error:
            raise self._refused("generation_kwargs", f"can't be honoured ({error})") from None

    def _refused(self, key: str, problem: str) -> TaskError:
        fix = "Write the task as a handful task file instead."
        return TaskError(f"{self.path}: `{key}` {problem}.", fix=fix)
