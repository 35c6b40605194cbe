"""From a task and a query to the prompt. Pure text; every decision about whitespace is made, and explained, here.

    Decide whether a film review is positive or negative.      description
                                                               one empty line
    Review: I laughed all the way through.                     input template, filled
    Sentiment: positive                                        output template, filled
    ###                                                        separator
    Review: The plot is thin.                                  the query
    Sentiment:                                                 output template up to {output}, no space behind it

Invariant: `prompt(task, values) == prefix(task) + query(task, values)` for every query, so whatever a model keeps for
the prefix serves them all.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from handful.task.template import Template, parse_template

if TYPE_CHECKING:
    from handful.task.task import Example, Task

# Spaces and tabs, but no line breaks: the whitespace that a tokenizer joins to the word behind it.
_BLANKS = " \t"
_ENDING = re.compile(r"\s*\n|\s*\S+")


def prefix(task: "Task", examples: "Sequence[Example] | None" = None) -> str:
    """Description and examples: what every prompt of the task starts with. `examples` replaces the task's own."""
    shown = task.examples if examples is None else examples
    # One empty line sets the description off from the examples. Whitespace around it is an accident of the file
    # (a YAML block ends with a line break), and an empty description leaves no empty line behind.
    description = task.description.strip()
    head = f"{description}\n\n" if description else ""
    return head + "".join(_example(task, example) for example in shown)


def query(task: "Task", values: Mapping[str, str]) -> str:
    """The part of the prompt that is the query's own. It ends where the answer goes, without a space.

    Tokenizers of these models join a space to the word behind it: " positive" is one token, and " " followed by
    "positive" is a pair that the model has hardly ever seen. So the space in front of {output} isn't part of the
    prompt; it is the start of the answer, in `continuations` and in what the model generates. A line break stays in
    the prompt: it is a token of its own.
    """
    lead, _, _ = _around_output(task)
    return f"{_fill(_input_template(task), values)}\n{lead}"


def prompt(task: "Task", values: Mapping[str, str]) -> str:
    """The whole prompt: the prefix, then the query."""
    return prefix(task) + query(task, values)


def continuations(task: "Task") -> tuple[str, ...]:
    """What is scored behind the prompt: one text for each label, in the order of the labels.

    Each starts with the space that `query` left out. When one label is the beginning of another ("1" and "12"), the
    probability of the text " 1" would contain that of " 12", and the shorter label would always win. Then every
    continuation also gets the beginning of what follows an output in the prompt, by default the line break before
    ###: now " 1\\n" and " 12\\n" exclude each other. Labels that don't overlap are left alone: an ending would cost
    a token each and change nothing about which of them is meant.
    """
    _, gap, behind = _around_output(task)
    ordered = sorted(task.labels)  # a label that begins another stands right before one that it begins
    overlap = any(second.startswith(first) for first, second in itertools.pairwise(ordered))
    ending = _first_ending(behind + task.separator) if overlap else ""
    return tuple(gap + label + ending for label in task.labels)


def _first_ending(follows: str) -> str:
    """The beginning of the text behind an output: up to its first line break, or its first word if one comes sooner.

    A run of line breaks is taken whole, because tokenizers may make one token of it; a word is taken with the blanks
    before it for the same reason.
    """
    found = _ENDING.match(follows)
    return found.group() if found else follows


def _example(task: "Task", example: "Example") -> str:
    lead, gap, behind = _around_output(task)
    return (
        f"{_fill(_input_template(task), example.inputs)}\n{lead}{gap}{example.output.strip()}{behind}{task.separator}"
    )


def _input_template(task: "Task") -> Template:
    # Line breaks around a template come from YAML blocks; the layout has its own between input and output.
    return parse_template(task.input.strip("\n"))


def _around_output(task: "Task") -> tuple[str, str, str]:
    """The output template's text before {output}, the blanks right before it, and the text behind it."""
    before, behind = parse_template(task.output.strip("\n")).around("output")
    lead = before.rstrip(_BLANKS)
    return lead, before[len(lead) :], behind


def _fill(template: Template, values: Mapping[str, str]) -> str:
    # Whitespace around a value is an accident too (the line break that ends a file): examples and queries must look
    # alike. Inside it, every space and line break is the user's.
    return template.fill({name: value.strip() for name, value in values.items()})
