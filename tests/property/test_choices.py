"""A generation held to choices is one of them, whatever else is asked, with and without forced tokens the same."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from handful.engine.choices import Choices
from handful.engine.events import Completed
from handful.engine.request import Generate, Request
from handful.engine.stopping import TextState
from handful.types import GenerationParameters
from tests.parity import engines
from tests.parity.engines import Setup

EOS = 7
PROMPTS = st.lists(st.integers(8, 12), min_size=1, max_size=20)
CHOICES = st.lists(st.lists(st.integers(8, 11), min_size=1, max_size=6), min_size=1, max_size=6)
ASKED = st.lists(st.tuples(PROMPTS, CHOICES, st.sampled_from([0.0, 1.0, 5.0])), min_size=1, max_size=5)

Asked = list[tuple[list[int], list[list[int]], float]]


def texts(setup: Setup, asked: Asked, logprobs: int | None) -> list[tuple[list[int], str]]:
    """The tokens of each request without the end of text, and why it ended, when all are handed in together."""
    made = engines.engine("llama", setup, eos=frozenset({EOS}))
    requests = []
    for number, (prompt, choices, temperature) in enumerate(asked):
        wanted = GenerationParameters(max_new_tokens=10, temperature=temperature, seed=number, logprobs=logprobs)
        goal = Generate(wanted, number, TextState(lambda ids: "", ()), Choices(choices))
        requests.append(Request(number, tuple(prompt), goal))
        made.add(requests[-1])
    reasons = {event.request.id: event.reason for event in engines.run(made) if isinstance(event, Completed)}
    return [([token for token in request.output if token != EOS], reasons[request.id]) for request in requests]


@settings(max_examples=40, deadline=None)
@given(asked=ASKED, free_rows=st.sampled_from([0, 10_000]), budget=st.sampled_from([16, 512]))
def test_what_is_written_is_a_choice_and_does_not_depend_on_how_it_is_computed(
    asked: Asked, free_rows: int, budget: int
) -> None:
    setup = Setup(slots=1000, budget=budget, free_rows=free_rows)
    found = texts(setup, asked, logprobs=None)
    for (tokens, reason), (_, choices, _) in zip(found, asked, strict=True):
        assert tokens in choices
        assert reason == "eos_token"
    assert texts(replace(setup, free_rows=0), asked, logprobs=0) == found  # token by token
    assert texts(replace(setup, free_rows=10_000), asked, logprobs=0) == found  # forced tokens as drafts
    assert texts(setup, asked[:1], logprobs=None) == found[:1]
