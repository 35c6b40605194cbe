"""What is wrong with a task, and where: one error that names the key, so that a file's reader can add the line."""

import difflib
from collections.abc import Iterable

from handful.errors import TaskError

KeyPath = tuple[str | int, ...]

_LISTS_OF = {"examples": "example", "labels": "label"}


def spell_path(path: KeyPath) -> str:
    """A key path as a person counts: `("examples", 2, "output")` is "example 3, `output`"."""
    words: list[str] = []
    for step, parent in zip(path, ("", *path), strict=False):
        if isinstance(step, int):
            words[-1] = f"{_LISTS_OF.get(str(parent), str(parent))} {step + 1}"
        else:
            words.append(f"`{step}`")
    return ", ".join(words)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " Did you mean `x`?" for the known word nearest to `word`, or "" where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean `{near[0]}`?" if near else ""


def join_words(words: Iterable[str]) -> str:
    """`a`, `b` and `c`: names as a sentence lists them."""
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1] if quoted else "none"


class TaskProblem(TaskError):
    """A `TaskError` that knows the key it is about; `path` is empty when it is about the task as a whole."""

    def __init__(self, path: KeyPath, problem: str, *, fix: str = "") -> None:
        spelled = spell_path(path)
        super().__init__(f"{spelled}: {problem}" if spelled else problem, fix=fix)
        self.path = path


def refuse_unknown(keys: Iterable[object], known: Iterable[str], path: KeyPath = ()) -> None:
    """Raise `TaskProblem` for the first of `keys` that isn't in `known`, naming the nearest that is."""
    allowed = tuple(known)
    for key in keys:
        if key not in allowed:
            nearest = did_you_mean(str(key), allowed)
            listed = f"The keys here are {join_words(allowed)}."
            raise TaskProblem((*path, str(key)), "is no key of a task.", fix=f"{nearest} {listed}".strip())
