"""Drafts change how many steps a text takes and nothing else: the same tokens, text, log-probabilities and ends."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handful.engine.events import Completed, Event, TokenDrawn
from handful.engine.request import Generate, Request
from handful.engine.stopping import TextState
from handful.types import GenerationParameters
from tests.parity import engines
from tests.parity.engines import Setup

# Few different tokens, so that texts repeat themselves and drafts come true; the model's own circles do the rest.
TOKENS = st.lists(st.integers(3, 6), min_size=1, max_size=40)
VARIANTS = st.sampled_from(["llama", "gpt_neo-small-window"])


@dataclass(frozen=True, slots=True)
class Told:
    """All that a caller is told of a request. Log-probabilities are compared as far as float32 goes."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...] = field(compare=False)
    pieces: tuple[str, ...]
    reason: str
    stop: str


@st.composite
def parameters(draw: st.DrawFn) -> GenerationParameters:
    most = draw(st.integers(1, 24))
    is_sampled = draw(st.booleans())
    return GenerationParameters(
        max_new_tokens=most,
        min_new_tokens=draw(st.integers(0, most)),
        temperature=draw(st.sampled_from([0.3, 1.0])) if is_sampled else 0.0,
        top_k=draw(st.sampled_from([None, 3])),
        top_p=draw(st.sampled_from([None, 0.8])),
        seed=draw(st.integers(0, 5)),
        repetition_penalty=draw(st.sampled_from([1.0, 1.0, 1.3])),
        presence_penalty=draw(st.sampled_from([0.0, 0.0, 0.5])),
        frequency_penalty=draw(st.sampled_from([0.0, 0.0, 0.5])),
        logit_bias=draw(st.sampled_from([(), ((4, 3.0),), ((3, 100.0),)])),
        stop=draw(st.sampled_from([(), ("b",), ("aa", "ca"), ("bab",), ("ddd",)])),
        logprobs=draw(st.sampled_from([None, 0, 2])),
        ignore_eos=draw(st.booleans()),
    )


ASKED = st.lists(st.tuples(TOKENS, parameters()), min_size=1, max_size=6)


def text_of(ids: object) -> str:
    """A letter a token, so that end sequences cross their borders."""
    return "".join("abcd"[token % 4] for token in ids)  # type: ignore[attr-defined]


def told(variant: str, setup: Setup, asked: list[tuple[list[int], GenerationParameters]]) -> tuple[list[Told], int]:
    """What each request is told when they are handed in together, and the steps that it took."""
    made = engines.engine(variant, setup, eos=frozenset({5, 77}))
    requests = []
    for number, (prompt, wanted) in enumerate(asked):
        goal = Generate(wanted, wanted.seed or 0, TextState(text_of, wanted.stop))
        requests.append(Request(number, tuple(prompt), goal))
        made.add(requests[-1])
    events = engines.run(made)
    assert made.stats.num_accepted_tokens <= made.stats.num_drafted_tokens
    return [_told(request, events) for request in requests], made.stats.num_steps


def _told(request: Request, events: list[Event]) -> Told:
    mine = [event for event in events if event.request is request]
    drawn, end = mine[:-1], mine[-1]
    assert isinstance(end, Completed)
    tokens = [event for event in drawn if isinstance(event, TokenDrawn)]
    assert len(tokens) == len(drawn)
    return Told(
        tuple(event.sampled.token for event in tokens),
        tuple(event.sampled.logprob for event in tokens if event.sampled.logprob is not None),
        (*(event.text for event in tokens), end.text),
        end.reason,
        end.stop,
    )


@settings(max_examples=60, deadline=None)
@given(variant=VARIANTS, asked=ASKED, share=st.booleans(), native=st.booleans(), budget=st.sampled_from([16, 512]))
def test_drafts_change_nothing_but_the_number_of_steps(
    variant: str, asked: list[tuple[list[int], GenerationParameters]], share: bool, native: bool, budget: int
) -> None:
    setup = Setup(share=share, native=native, budget=budget, slots=1000, free_rows=0)
    plain, num_steps = told(variant, setup, asked)
    for free_rows in (2, 10_000):  # hardly ever, and nearly always
        drafted, num_drafted_steps = told(variant, replace(setup, free_rows=free_rows), asked)
        assert drafted == plain
        for one, other in zip(drafted, plain, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
        assert len(asked) > 1 or num_drafted_steps <= num_steps
    alone, _ = told(variant, replace(setup, free_rows=10_000), asked[-1:])
    assert alone == plain[-1:]


def test_a_text_that_repeats_itself_takes_a_fraction_of_the_steps() -> None:
    asked = [([3, 4, 5, 6] * 5, GenerationParameters(max_new_tokens=24, logit_bias=((3, 100.0),), ignore_eos=True))]
    plain, num_steps = told("llama", Setup(free_rows=0), asked)
    drafted, num_drafted_steps = told("llama", Setup(free_rows=10_000), asked)
    assert drafted == plain
    assert (num_steps, num_drafted_steps) == (24, 4)
