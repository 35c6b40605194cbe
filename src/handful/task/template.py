"""Templates with `{name}` and nothing else: text in, text out, nothing looked up, nothing executed.

`{{` and `}}` stand for braces. Attributes, indexes, conversions and format specifications, which Python's own
`str.format` would follow into objects, are refused when the template is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter

from handful.task.problem import KeyPath, TaskProblem

_PLAIN_ONLY = "Only plain names such as {text} are read; write {{ and }} for braces of your own."


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: pieces of text, each followed by a variable's value (None behind the last piece)."""

    pieces: tuple[tuple[str, str | None], ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables, each once, in the order of their first appearance."""
        return tuple(dict.fromkeys(name for _, name in self.pieces if name is not None))

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every variable replaced. A value goes in as it is: braces in it mean nothing."""
        return "".join(text + ("" if name is None else values[name]) for text, name in self.pieces)

    def around(self, variable: str) -> tuple[str, str]:
        """The text before and behind `variable`, which must be the template's only one."""
        names = [name for _, name in self.pieces]
        cut = names.index(variable) + 1
        return "".join(text for text, _ in self.pieces[:cut]), "".join(text for text, _ in self.pieces[cut:])


@lru_cache(maxsize=1024)
def parse_template(text: str, path: KeyPath = ()) -> Template:
    """Read a template. Raises `TaskProblem` at `path` for anything but text and plain `{name}`s."""
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise TaskProblem(path, f"is no template: {error}.", fix=_PLAIN_ONLY) from None
    pieces: list[tuple[str, str | None]] = []
    for literal, name, specification, conversion in parsed:
        if name is None:
            pieces.append((literal, None))
            continue
        _check_variable(name, specification, conversion, path)
        pieces.append((literal, name))
    return Template(tuple(pieces))


def _check_variable(name: str, specification: str | None, conversion: str | None, path: KeyPath) -> None:
    if name.isidentifier() and not specification and not conversion:
        return
    written = name + (f"!{conversion}" if conversion else "") + (f":{specification}" if specification else "")
    problem = f"has the variable {{{written}}}, which is more than a name."
    if not written:
        problem = "has {} without a name in it."
    raise TaskProblem(path, problem, fix=_PLAIN_ONLY)
