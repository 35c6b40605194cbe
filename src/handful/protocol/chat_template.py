"""A chat template and messages become a prompt.

A template comes with a checkpoint and is not trusted: it is rendered in Jinja's immutable sandbox, without a loader
and with few names. That stops it from reaching Python, not from taking for ever or filling the memory, so a server runs
`chat_worker.py` in a process of its own, with limits. `render` is what runs there.

The names and filters are those that the Hub's templates expect: `messages`, `add_generation_prompt`, `bos_token` and
the other special tokens, `raise_exception`, `strftime_now`, `tojson`, `{% generation %}`, `break` and `continue`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from handful.errors import InvalidInputError

MAX_TEMPLATE_CHARACTERS = 200_000
MAX_PROMPT_CHARACTERS = 8_000_000
_MAX_REASON = 200
_GLOBALS = ("range", "dict", "namespace", "joiner", "cycler")


class GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}`, which marks what an assistant said; here it says just that."""

    tags = {"generation"}  # noqa: RUF012 - so declared by Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The block's own content."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(str(message))


def _tojson(value: object, indent: int | None = None) -> str:
    """JSON as it is: Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _environment() -> ImmutableSandboxedEnvironment:
    # Prompts are no HTML, so nothing is escaped.
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        extensions=[GenerationBlock, loopcontrols],
    )
    kept = {name: made.globals[name] for name in _GLOBALS}
    made.globals.clear()
    made.globals.update(kept)
    made.globals["raise_exception"] = _raise_exception
    made.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(str(form))
    made.filters["tojson"] = _tojson
    return made


def render(source: str, messages: Sequence[Mapping[str, str]], special_tokens: Mapping[str, str]) -> str:
    """The prompt that a template makes of messages, ready for the assistant's turn.

    Raises InvalidInputError where the template is too long, is broken, or refuses the messages (with its reason).
    Unbounded in time and memory: see the module's docstring.
    """
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise InvalidInputError(f"The model's chat template has more than {MAX_TEMPLATE_CHARACTERS} characters.")
    named: dict[str, Any] = dict(special_tokens)
    named |= {"messages": [dict(message) for message in messages], "add_generation_prompt": True}
    named |= {"tools": None, "documents": None}
    try:
        pieces, num_characters = [], 0
        for piece in _environment().from_string(source).generate(named):
            pieces.append(piece)
            num_characters += len(piece)
            if num_characters > MAX_PROMPT_CHARACTERS:
                raise InvalidInputError(f"The chat's prompt has more than {MAX_PROMPT_CHARACTERS} characters.")
    except InvalidInputError:
        raise
    except Exception as error:  # a template may fail in any way that Python code may
        raise InvalidInputError(f"The model's chat template refuses these messages: {_reason(error)}") from error
    return "".join(pieces)


def _reason(error: Exception) -> str:
    text = str(error) if isinstance(error, TemplateError) else type(error).__name__
    return " ".join(text.split())[:_MAX_REASON].rstrip(".") + "."
