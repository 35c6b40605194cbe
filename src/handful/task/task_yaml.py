"""The YAML of task files: every value is text as it is written, except below `parameters`.

YAML reads `yes` as true, `1` as a number and `2024-01-01` as a date. A label or an example is text, whatever it looks
like, so plain scalars stay the text they are; only the parameters are read as numbers. Keys that come twice, aliases,
merge keys and tags are refused: nobody writing a task means them, and they are how YAML files are made to explode.
Nothing but strings, numbers, lists and dicts is ever built.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from handful.task.problem import KeyPath, TaskProblem

Lines = dict[KeyPath, int]

MAX_DEPTH = 16
_STANDARD = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(
    _STANDARD + kind for kind in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)
_LINE_BREAKS_YAML_CHANGES = frozenset("\r\x85\u2028\u2029")  # a block would give them back as line feeds


def _refuse(line: int, problem: str, fix: str = "") -> TaskProblem:
    return TaskProblem((), f"line {line}: {problem}", fix=fix)


class _Loader(yaml.SafeLoader):
    """Composes nodes without aliases and without deep nesting (which would exhaust the stack)."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _refuse(event.start_mark.line + 1, "aliases (*name) are not read.", "Write the text out.")
        if self.depth >= MAX_DEPTH:
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise _refuse(line, f"nested deeper than {MAX_DEPTH} levels.")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def parse_yaml(text: str) -> tuple[object, Lines]:
    """The value in `text` and the line (from 1) of each key path. Raises `TaskProblem` and `yaml.YAMLError`."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: Lines = {}
        return (None if node is None else _build(loader, node, (), lines)), lines
    finally:
        loader.dispose()


def _build(loader: _Loader, node: yaml.Node, path: KeyPath, lines: Lines) -> object:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return _build_scalar(loader, node, path)
    if node.tag not in (_STANDARD + "map", _STANDARD + "seq"):
        raise _refuse(node.start_mark.line + 1, f"the tag {node.tag} is not read.", "Remove it.")
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*path, index), lines) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(loader, node, path, lines)
    raise _refuse(node.start_mark.line + 1, "this is no text, list or mapping.")


def _build_mapping(loader: _Loader, node: yaml.MappingNode, path: KeyPath, lines: Lines) -> dict[str, object]:
    built: dict[str, object] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            fix = "Put text that starts with { or [ in quotes."
            raise _refuse(line, "a key must be a plain word.", fix)
        key = key_node.value
        inner = (*path, key)
        if key in built:
            raise _refuse(line, f"the key `{key}` is there already, on line {lines[inner]}.", "Remove one of them.")
        lines[inner] = line
        built[key] = _build(loader, value_node, inner, lines)
    return built


def _build_scalar(loader: _Loader, node: yaml.ScalarNode, path: KeyPath) -> object:
    line = node.start_mark.line + 1
    if node.tag not in _PLAIN_TAGS:
        raise _refuse(line, f"the tag {node.tag} is not read.", "Remove it.")
    if node.tag == _STANDARD + "null" and not node.value:
        return None  # `description:` with nothing behind it
    if path[:1] != ("parameters",):
        return node.value
    try:
        return loader.construct_object(node)
    except ValueError:  # a number of 5,000 digits, the 99th of a month
        raise _refuse(line, f"{node.value[:40]!r} can't be read as a value.") from None


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as blocks, and indents lists below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - the name is its parent's
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if _LINE_BREAKS_YAML_CHANGES & set(text):
        style = '"'
    elif "\n" in text.strip("\n") or (text.endswith("\n") and text.strip()):
        style = "|"
    return dumper.represent_scalar(_STANDARD + "str", text, style=style)


_Dumper.add_representer(str, _represent_text)


class _Row(list[str]):
    """A list that is written on one line, in brackets."""


_Dumper.add_representer(
    _Row, lambda dumper, row: dumper.represent_sequence(_STANDARD + "seq", list(row), flow_style=True)
)


def dump_yaml(data: Mapping[str, Any]) -> str:
    """`data` as YAML in its own order: blocks for long text, the labels on one line; `parse_yaml` reads it back."""
    shown = dict(data)
    if "labels" in shown:
        shown["labels"] = _Row(shown["labels"])
    return yaml.dump(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
