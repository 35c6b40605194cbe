"""Chat templates: what they may use, and that none of them reaches Python or the disk."""

from typing import Any

import pytest

from handful.errors import InvalidInputError
from handful.protocol.chat_template import MAX_TEMPLATE_CHARACTERS, render

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<b>{{ 1 + 1 }}</b>"}]
CHATML = """\
{% for message in messages %}
<|im_start|>{{ message['role'] }}
{{ message.content }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
"""


def made(source: str, **named: Any) -> str:
    return render(source, MESSAGES, named)


def test_messages_become_a_prompt_and_stay_text() -> None:
    assert made(CHATML) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<b>{{ 1 + 1 }}</b><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("{{ bos_token }}{{ eos_token }}{{ pad_token }}", "<s></s>"),
        ("{% generation %}a{% endgeneration %}", "a"),
        ("{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}", "system"),
        ("{{ messages[1].content | tojson }}", '"<b>{{ 1 + 1 }}</b>"'),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "2"),
        ("{{ strftime_now('%Y') | length }}", "4"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{% macro said(m) %}[{{ m.role }}]{% endmacro %}{{ said(messages[0]) }}", "[system]"),
        ("{{ tools is none }} {{ documents is defined }}", "True True"),
    ],
)
def test_what_the_hubs_templates_use_is_there(source: str, prompt: str) -> None:
    assert made(source, bos_token="<s>", eos_token="</s>") == prompt


def test_a_template_may_refuse_messages_and_say_why() -> None:
    with pytest.raises(InvalidInputError, match="Roles must alternate"):
        made("{{ raise_exception('Roles must alternate.') }}")


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ()|attr('__class__') }}",
    "{{ messages.__class__.__base__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__globals__['json'] }}",
    "{{ raise_exception.__code__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.environment.loader }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ '{x.__class__}'.format_map({'x': ''}) }}",
    "{{ ('{0.__class__}'|attr('format'))('') }}",
    "{% set f = '{0.__class__}'.format %}{{ f('') }}",
    "{{ ['{0.__class__}']|map('format', '')|list }}{{ ''|attr('format').__self__ }}",
    "{% for f in ['{0.__class__}'.format] %}{{ f('') }}{% endfor %}",
    "{{ messages.append({'role': 'x'}) }}",
    "{{ messages[0].update({'role': 'x'}) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends '/etc/passwd' %}",
    "{{ get_flashed_messages }}{{ config.items() }}",
    "{{ request.application }}",
    "{{ open('/etc/passwd').read() }}",
    "{{ __import__('os') }}",
    "{{ range(10**9) | list }}",
    "{{ (1).__class__ }}",
    "{{ messages|map(attribute='__class__')|map(attribute='__name__')|list }}",
    "{{ messages|sum(attribute='__class__') }}",
    "{% set x = joiner.__call__.__globals__ %}{{ x.os }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_no_template_gets_out_of_the_sandbox(source: str) -> None:
    try:
        text = made(source)
    except InvalidInputError:
        return
    # Some expressions are undefined, which is empty; none shows a class, a function or a file.
    assert not any(word in text for word in ("<class", "<function", "<built-in", "root:", "object at", "list", "dict"))


@pytest.mark.parametrize("change", ["messages.append(1)", "messages[0].update(a=1)", "messages.pop()"])
def test_a_template_changes_nothing_that_it_was_given(change: str) -> None:
    with pytest.raises(InvalidInputError, match="refuses"):
        made("{{ " + change + " }}")


def test_names_that_templates_do_not_need_are_not_there() -> None:
    assert made("{{ lipsum is defined }} {{ range is defined }}") == "False True"


def test_a_template_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="characters"):
        made(" " * (MAX_TEMPLATE_CHARACTERS + 1))


def test_a_prompt_that_is_too_long_is_refused_while_it_grows() -> None:
    with pytest.raises(InvalidInputError, match="characters"):
        made("{% for i in range(90000) %}{{ 'a' * 1000 }}{% endfor %}")


@pytest.mark.parametrize("source", ["{% if", "{{ 1 / 0 }}", "{{ messages[9].content.x }}", "{{ '(' * 5 }}{% foo %}"])
def test_a_broken_template_is_one_sentence(source: str) -> None:
    with pytest.raises(InvalidInputError, match="chat template refuses these messages"):
        made(source)
