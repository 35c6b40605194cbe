"""What of a step is computed exactly: what many queries read."""

from handful.engine.arena import Arena
from handful.engine.exact import LONG_SEGMENT, in_two_formats
from handful.engine.request import Embed, Goal, Request, Warm, Work
from handful.engine.scheduler import Limits, Scheduler
from handful.engine.segments import SegmentTree

PREFIX = tuple(range(LONG_SEGMENT))
QUERY = (900, 901, 902)


def make_scheduler() -> Scheduler:
    limits = Limits(max_batched_tokens=1000, max_running_requests=8, max_queued_requests=8, num_slots=2000)
    return Scheduler(SegmentTree(Arena(limits.num_slots)), limits)


def steps(scheduler: Scheduler, *prompts: tuple[int, ...], goal: Goal | None = None) -> list[Work]:
    for prompt in prompts:
        scheduler.add(Request(len(scheduler.running) + 1, prompt, goal or Embed()))
    return scheduler.schedule()


def counts(works: list[Work]) -> list[tuple[int, int]]:
    return [(work.first, work.count) for work in works]


def finish(scheduler: Scheduler, works: list[Work]) -> None:
    scheduler.advance(works)
    for work in works:
        scheduler.finish(work.request)


def test_a_short_prompt_is_not_exact() -> None:
    exact, rest = in_two_formats(steps(make_scheduler(), PREFIX[: LONG_SEGMENT - 1]))
    assert not exact
    assert counts(rest) == [(0, LONG_SEGMENT - 1)]


def test_a_pinned_prefix_is_exact_however_short() -> None:
    exact, rest = in_two_formats(steps(make_scheduler(), (1, 2, 3), goal=Warm()))
    assert (counts(exact), rest) == ([(0, 3)], [])


def test_the_last_token_of_a_long_prompt_is_not_exact_since_nobody_shares_it() -> None:
    exact, rest = in_two_formats(steps(make_scheduler(), (*PREFIX, *QUERY)))
    whole = LONG_SEGMENT + len(QUERY)
    assert (counts(exact), counts(rest)) == ([(0, whole - 1)], [(whole - 1, 1)])


def test_a_query_behind_a_prefix_that_is_there_is_not_exact() -> None:
    scheduler = make_scheduler()
    finish(scheduler, steps(scheduler, (*PREFIX, *QUERY)))
    exact, rest = in_two_formats(steps(scheduler, (*PREFIX, 700, 701, 702)))
    assert not exact
    assert counts(rest) == [(LONG_SEGMENT, 3)]


def test_a_short_beginning_before_a_long_part_is_exact_with_it() -> None:
    scheduler = make_scheduler()
    finish(scheduler, steps(scheduler, (*PREFIX[:10], *QUERY)))
    exact, _ = in_two_formats(steps(scheduler, (*PREFIX, *PREFIX, 5)))
    assert counts(exact) == [(10, 2 * LONG_SEGMENT - 10)]
