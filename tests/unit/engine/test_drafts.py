"""Where drafts come from, how long they are, and what they cost to look up; no model."""

import pytest

from handful.engine.arena import Arena
from handful.engine.drafts import LONGEST, TRY_EVERY, Acceptance, Drafter
from handful.engine.request import Embed, Generate, Goal, Request, Work
from handful.engine.segment_tree import SegmentTree
from handful.engine.stopping import TextState
from handful.types import GenerationParameters

MANY = 10_000  # rows that come free: drafts are as long as they can be
PREFIX = "Review: dull\nSentiment: bad\n###\nReview: fine\nSentiment: good\n###\n"


def generate(new: int = 50) -> Generate:
    return Generate(GenerationParameters(max_new_tokens=new), 0, TextState(lambda ids: "", ()))


def admitted(tree: SegmentTree, text: str, goal: Goal | None = None, number: int = 1) -> Request:
    """A request of one token a letter, its shared part computed."""
    request = Request(number, tuple(text.encode()), goal or generate())
    request.lease = tree.acquire(request.prompt[: request.num_shared], request.tail_capacity)
    assert request.lease is not None
    for segment in request.lease.path():
        segment.num_computed = len(segment.tokens)
    return request


def propose(drafter: Drafter, request: Request, *, num_rows: int = 1, room: int = 100) -> str:
    """What is guessed behind all that the request has."""
    work = Work(request, request.num_shared + len(request.tail) - 1, 1)
    return bytes(drafter.propose(work, num_rows, room)).decode()


def test_what_followed_in_an_example_is_guessed() -> None:
    request = admitted(SegmentTree(Arena(1000)), PREFIX + "Review: new\nSentiment: ")
    assert propose(Drafter(MANY), request) == "good\n###"
    request.tail += b"bad"
    assert propose(Drafter(MANY), request) == "\n###\nRev"


def test_the_generated_text_is_looked_through_too_and_first() -> None:
    request = admitted(SegmentTree(Arena(1000)), "one two. one three")
    drafter = Drafter(MANY)
    propose(drafter, request)
    request.tail += b", one four, one"
    assert propose(drafter, request) == " four, o"


def test_a_text_in_circles_is_followed_round() -> None:
    request = admitted(SegmentTree(Arena(1000)), "xyxyxy")
    assert propose(Drafter(MANY), request) == "xyxyxyxy"


def test_nothing_is_guessed_where_nothing_came_before() -> None:
    assert propose(Drafter(MANY), admitted(SegmentTree(Arena(1000)), "abc")) == ""
    assert propose(Drafter(MANY), admitted(SegmentTree(Arena(1000)), "a")) == ""


def test_no_free_rows_no_drafts() -> None:
    assert propose(Drafter(0), admitted(SegmentTree(Arena(1000)), "xyxyxy")) == ""


def test_a_draft_leaves_no_more_tokens_than_are_wanted() -> None:
    request = admitted(SegmentTree(Arena(1000)), "xyxyxy", generate(new=4))
    assert propose(Drafter(MANY), request) == "xyx"  # and the fourth is drawn behind them
    request.tail += b"xy"
    assert propose(Drafter(MANY), request) == "x"
    request.tail += b"x"
    assert propose(Drafter(MANY), request) == ""


def test_a_draft_fits_the_room_of_the_step() -> None:
    assert propose(Drafter(MANY), admitted(SegmentTree(Arena(1000)), "xyxyxy"), room=2) == "xy"


def test_only_a_text_that_is_written_is_drafted_and_only_behind_its_last_token() -> None:
    tree = SegmentTree(Arena(1000))
    assert propose(Drafter(MANY), admitted(tree, "xyxyxy", Embed())) == ""
    chunk = Work(admitted(tree, "xyxyxy"), 0, 3)
    assert Drafter(MANY).propose(chunk, 3, 100) == ()


def test_what_others_wrote_behind_the_same_prefix_is_not_read() -> None:
    tree, drafter = SegmentTree(Arena(1000)), Drafter(MANY)
    propose(drafter, admitted(tree, PREFIX + "abc secret", number=1))
    assert propose(drafter, admitted(tree, PREFIX + "abc", number=2)) == ""


def test_a_prefix_is_looked_through_once_and_again_when_it_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, drafter = SegmentTree(Arena(10_000)), Drafter(MANY)
    asked = [admitted(tree, f"{PREFIX}{i}: Sentiment: ", number=i) for i in range(10, 20)]
    answers = [propose(drafter, request) for request in asked]
    assert answers == ["good\n###"] * 10
    lengths = [len(segment.tokens) for segment in drafter._grams]
    assert lengths.count(len(PREFIX) + 1) == 1  # "1" as in 10 to 19 belongs to it
    assert sum(lengths) == tree.arena.capacity - tree.num_free_slots - 10 * 50


def test_an_ended_request_leaves_nothing() -> None:
    tree, drafter = SegmentTree(Arena(1000)), Drafter(MANY)
    request = admitted(tree, "xyxyxy")
    propose(drafter, request)
    drafter.forget(request.id)
    assert request.lease is not None
    tree.release(request.lease, request.id)
    tree.clear()
    request.lease = None
    assert not drafter._contexts
    assert not drafter._grams


def test_guesses_that_come_true_are_made_in_full_steps_too_and_others_only_now_and_then() -> None:
    good, bad = Acceptance(), Acceptance()
    for _ in range(30):
        good.note(4, 4)
        bad.note(4, 0)
    assert good.worthwhile(num_rows=500, room=4, free_rows=16) == 4
    assert [bad.worthwhile(num_rows=1, room=4, free_rows=16) for _ in range(TRY_EVERY)] == [0] * (TRY_EVERY - 1) + [4]
    for _ in range(10):
        bad.note(4, 4)
    assert bad.worthwhile(num_rows=1, room=4, free_rows=16) == 4


def test_a_draft_ends_where_its_tokens_stop_coming_true() -> None:
    rates = Acceptance()
    for _ in range(30):
        rates.note(LONGEST, 2)  # as where an end sequence follows the label
    assert rates.worthwhile(num_rows=1, room=LONGEST, free_rows=16) == 2


def test_the_fuller_the_step_the_shorter_the_draft() -> None:
    rates = Acceptance()
    lengths = [rates.worthwhile(num_rows, LONGEST, free_rows=16) for num_rows in (1, 8, 12, 15, 16, 100)]
    assert lengths == [LONGEST, LONGEST, 4, 1, 0, 0]
