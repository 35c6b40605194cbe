"""The calls that make, change and remove served tasks, without I/O. See docs/tasks-api.md for what the server does."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from pydantic import TypeAdapter

from handful.client.calls import json_bytes, read_answer
from handful.client.exchange import Answer, Call
from handful.errors import InvalidInputError
from handful.protocol.names import check_name
from handful.task.task import Example, Task

ALL = Call("GET", "/tasks")
_LIST = TypeAdapter(list[dict[str, Any]])
_OBJECT = TypeAdapter(dict[str, Any])


def show(name: str) -> Call:
    """The call that gets a task."""
    return Call("GET", _path(name))


def create(task: Task, *, private: bool) -> Call:
    """The call that makes a task."""
    return Call("POST", "/tasks", json_bytes(task.to_dict() | {"private": private}))


def update(task: Task, version: int | None) -> Call:
    """The call that puts a task in the place of the one of its name."""
    return Call("PUT", _path(task.name), json_bytes(task.to_dict()), headers=_meant_for(version))


def delete(name: str, version: int | None) -> Call:
    """The call that removes a task."""
    return Call("DELETE", _path(name), headers=_meant_for(version))


def examples(name: str) -> Call:
    """The call that gets a task's examples with their ids."""
    return Call("GET", f"{_path(name)}/examples")


def add_examples(name: str, added: Sequence[Example], version: int | None) -> Call:
    """The call that adds examples to a task."""
    plain = [{**example.inputs, "output": example.output} for example in added]
    return Call("POST", f"{_path(name)}/examples", json_bytes({"examples": plain}), headers=_meant_for(version))


def remove_examples(name: str, ids: Sequence[str], version: int | None) -> Call:
    """The call that removes examples from a task."""
    if isinstance(ids, str):
        raise InvalidInputError("The ids must be a list of texts.", fix="For a single one, write [id].")
    asked = urlencode([("id", each) for each in ids])
    return Call("DELETE", f"{_path(name)}/examples?{asked}", headers=_meant_for(version))


def read_list(answer: Answer) -> list[dict[str, Any]]:
    """What the server says of its tasks."""
    return read_answer(_LIST, answer)


def read_info(answer: Answer) -> dict[str, Any]:
    """What the server says of a task."""
    return read_answer(_OBJECT, answer)


def read_task(answer: Answer) -> Task:
    """A task."""
    return Task.from_dict(read_answer(_OBJECT, answer))


def read_examples(answer: Answer) -> dict[str, Example]:
    """Examples by their ids."""
    listed = _LIST.validate_python(read_answer(_OBJECT, answer).get("examples"))
    return {str(each["id"]): _example(each["example"]) for each in listed}


def _example(plain: Mapping[str, str]) -> Example:
    return Example({name: value for name, value in plain.items() if name != "output"}, plain["output"])


def _path(name: str) -> str:
    return f"/tasks/{check_name('task', name)}"


def _meant_for(version: int | None) -> dict[str, str]:
    return {} if version is None else {"if-match": f'"{version}"'}
