"""What is sent to /tasks: the keys of a task file as JSON or as the file's own YAML, and one key more, `private`.

Nothing in it is executed: templates have `{names}` and nothing else, and YAML is read as text, lists and mappings.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from handful.errors import InvalidInputError
from handful.protocol.payload import parse_json
from handful.server.errors import BodyTooLargeError
from handful.task.problem import refuse_unknown
from handful.task.task import Example, Task
from handful.task.task_file import MAX_FILE_BYTES
from handful.task.task_yaml import parse_yaml

_SWITCH = {True: True, False: False, "true": True, "false": False}
_ID_LENGTH = 16


@dataclass(frozen=True, slots=True)
class TaskBody:
    """A task as it was sent. `is_private` is None where the body doesn't say."""

    task: Task
    is_private: bool | None


async def read_task(body: bytes, name: str | None = None) -> TaskBody:
    """The task in a body, checked as a task file is; `name` is that of the route.

    Raises TaskError, InvalidInputError, BodyTooLargeError naming what to change.
    """
    if len(body) > MAX_FILE_BYTES:
        limit = MAX_FILE_BYTES // 1024
        raise BodyTooLargeError(f"The task takes more than {limit} KiB, the most a task has.")
    return await asyncio.to_thread(_read_task, body, name)  # a long one takes a while


def _read_task(body: bytes, name: str | None) -> TaskBody:
    data = _plain_values(body)
    if not isinstance(data, dict):
        raise InvalidInputError("A task is an object with keys such as `name`, `input`, `output` and `examples`.")
    private = data.pop("private", None)
    if private is not None and (not isinstance(private, bool | str) or private not in _SWITCH):
        raise InvalidInputError("`private` must be true or false.")
    if name is not None and data.setdefault("name", name) != name:
        raise InvalidInputError(f"`name` is not the task of this route, {name}.", fix="Leave it out.")
    return TaskBody(Task.from_dict(data), None if private is None else _SWITCH[private])


def _plain_values(body: bytes) -> Any:
    """JSON where it begins as JSON objects do, else YAML."""
    if body.lstrip()[:1] in (b"{", b"[", b'"', b""):
        return parse_json(body)
    try:
        return parse_yaml(body.decode("utf-8-sig"))[0]
    except UnicodeDecodeError:
        raise InvalidInputError("The body is not UTF-8.", fix="Send the task as UTF-8.") from None
    except yaml.YAMLError:
        raise InvalidInputError("The body is neither JSON nor YAML.", fix="Send a task as JSON.") from None


def read_examples(body: bytes, task: Task) -> tuple[Example, ...]:
    """The examples in `{"examples": [...]}`, each as a task file has it. Raises TaskError, InvalidInputError."""
    data = parse_json(body)
    if not isinstance(data, dict) or not isinstance(data.get("examples"), list) or not data["examples"]:
        raise InvalidInputError("`examples` must be a list of at least one example.", fix=_example_of(task))
    refuse_unknown(data, ("examples",))
    return Task.from_dict(task.to_dict() | {"examples": data["examples"]}).examples


def _example_of(task: Task) -> str:
    shown = dict.fromkeys((*task.variables, "output"), "...")
    return f"For example: {json.dumps({'examples': [shown]})}"


def to_json(task: Task) -> str:
    """A task as the database keeps it."""
    return json.dumps(task.to_dict())


def id_of(example: Example) -> str:
    """What an example is called in a route: a part of the SHA-256 of what it says, so it is the same everywhere."""
    said = json.dumps([sorted(example.inputs.items()), example.output])
    return hashlib.sha256(said.encode()).hexdigest()[:_ID_LENGTH]


def without(task: Task, ids: Sequence[str]) -> tuple[Example, ...]:
    """The task's examples but those with these ids. Raises InvalidInputError for an id that none has."""
    named = [id_of(example) for example in task.examples]
    for wanted in ids:
        if wanted not in named:
            raise InvalidInputError(
                f"No example of {task.name} has the id {wanted[:40]!r}.",
                fix=f"GET /tasks/{task.name}/examples has them.",
            )
    return tuple(example for example, name in zip(task.examples, named, strict=True) if name not in ids)
