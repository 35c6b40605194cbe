"""The scheduler's policy: who runs how many tokens, with made-up tokens and no model."""

import threading
from dataclasses import replace

import pytest

from handful.engine.arena import Arena
from handful.engine.request import Embed, Generate, Goal, Request, Warm, Work
from handful.engine.scheduler import Limits, Scheduler
from handful.engine.segment_tree import SegmentTree
from handful.engine.stopping import TextState
from handful.errors import PromptTooLongError
from handful.types import GenerationParameters


def make_scheduler(budget: int = 16, slots: int = 200, running: int = 8, queued: int = 8) -> Scheduler:
    limits = Limits(
        max_batched_tokens=budget, max_running_requests=running, max_queued_requests=queued, num_slots=slots
    )
    return Scheduler(SegmentTree(Arena(slots)), limits)


def generate(number: int, prompt: str, new: int = 4, owner: str = "") -> Request:
    goal = Generate(GenerationParameters(max_new_tokens=new), 0, TextState(lambda ids: "", ()))
    return make(number, prompt, goal, owner)


def make(number: int, prompt: str, goal: Goal, owner: str = "") -> Request:
    return Request(number, tuple(prompt.encode()), goal, owner=owner)


def run(scheduler: Scheduler, works: list[Work]) -> None:
    """Play the engine's part: every request whose tail has been run draws a token."""
    scheduler.advance(works)
    for work in works:
        request = work.request
        if isinstance(request.goal, Generate) and request.num_tail_computed == len(request.tail):
            request.tail.append(0)
    scheduler.cache.check_integrity(scheduler.leases())


def plan(works: list[Work]) -> list[tuple[int, int, int]]:
    return [(work.request.id, work.first, work.count) for work in works]


def test_a_prompt_runs_in_chunks_of_the_budget() -> None:
    scheduler = make_scheduler(budget=4)
    scheduler.add(generate(1, "abcdefghij"))
    seen = []
    for _ in range(4):
        works = scheduler.schedule()
        seen += plan(works)
        run(scheduler, works)
    assert seen == [(1, 0, 4), (1, 4, 4), (1, 8, 2), (1, 10, 1)]


def test_requests_that_arrive_together_compute_a_common_start_once() -> None:
    scheduler = make_scheduler(budget=100)
    scheduler.add(generate(1, "prefix: one"))
    scheduler.add(generate(2, "prefix: two"))
    first = scheduler.schedule()
    assert plan(first) == [(1, 0, 11)]
    run(scheduler, first)
    assert plan(scheduler.schedule()) == [(1, 11, 1), (2, 8, 3)]


def test_the_same_prompt_twice_runs_only_its_last_token_again() -> None:
    scheduler = make_scheduler(budget=100)
    scheduler.add(generate(1, "same prompt"))
    scheduler.add(generate(2, "same prompt"))
    run(scheduler, scheduler.schedule())
    assert plan(scheduler.schedule()) == [(1, 11, 1), (2, 10, 1)]


def test_a_long_prefill_does_not_stall_a_text_that_is_being_written() -> None:
    scheduler = make_scheduler(budget=4)
    scheduler.add(generate(1, "ab", new=10))
    run(scheduler, scheduler.schedule())
    scheduler.add(generate(2, "x" * 40))
    for _ in range(5):
        works = scheduler.schedule()
        assert (works[0].request.id, works[0].count) == (1, 1)
        assert sum(work.count for work in works) == 4
        run(scheduler, works)


def test_when_a_writer_leaves_another_takes_its_segment_over() -> None:
    scheduler = make_scheduler(budget=4)
    one, two = generate(1, "a shared start"), generate(2, "a shared start")
    scheduler.add(one)
    run(scheduler, scheduler.schedule())
    scheduler.add(two)
    run(scheduler, scheduler.schedule())
    scheduler.finish(one)
    scheduler.cache.check_integrity(scheduler.leases())
    assert plan(scheduler.schedule()) == [(2, 8, 4)]


def test_a_finished_prompt_is_found_again() -> None:
    scheduler = make_scheduler(budget=100)
    one = generate(1, "the same start, one")
    scheduler.add(one)
    run(scheduler, scheduler.schedule())
    scheduler.finish(one)
    two = generate(2, "the same start, two")
    scheduler.add(two)
    assert plan(scheduler.schedule()) == [(2, 16, 3)]
    assert two.num_cached_tokens == 16


def test_memory_is_made_by_evicting_what_nobody_uses() -> None:
    scheduler = make_scheduler(budget=100, slots=30)
    for number in range(1, 9):
        request = generate(number, chr(96 + number) * 15)
        scheduler.add(request)
        works = scheduler.schedule()
        assert works
        run(scheduler, works)
        scheduler.finish(request)


def test_a_pinned_prefix_survives_what_evicts_everything_else() -> None:
    scheduler = make_scheduler(budget=100, slots=60)
    warm = make(1, "pinned prefix ", Warm())
    scheduler.add(warm)
    run(scheduler, scheduler.schedule())
    scheduler.finish(warm)
    for number in range(2, 12):
        other = generate(number, chr(96 + number) * 30)
        scheduler.add(other)
        run(scheduler, scheduler.schedule())
        scheduler.finish(other)
    last = generate(99, "pinned prefix and more")
    scheduler.add(last)
    scheduler.schedule()
    assert last.num_cached_tokens == 14


def test_a_request_waits_until_memory_for_all_of_it_is_free() -> None:
    scheduler = make_scheduler(budget=100, slots=30)
    one, two = generate(1, "a" * 15), generate(2, "b" * 15)
    scheduler.add(one)
    scheduler.add(two)
    run(scheduler, scheduler.schedule())
    assert [request.id for request in scheduler.running] == [1]
    scheduler.finish(one)
    assert plan(scheduler.schedule()) == [(2, 0, 15)]


def test_a_request_that_could_never_fit_is_refused_with_the_counts() -> None:
    scheduler = make_scheduler(slots=30)
    with pytest.raises(PromptTooLongError, match=r"103 tokens .* at most 30"):
        scheduler.check_fits(generate(1, "a" * 100))


def test_prompt_logprobs_read_nothing_from_the_cache() -> None:
    scheduler = make_scheduler(budget=100)
    one = generate(1, "the same prompt")
    scheduler.add(one)
    run(scheduler, scheduler.schedule())
    goal = Generate(GenerationParameters(echo=True, logprobs=1), 0, TextState(lambda ids: "", ()))
    two = make(2, "the same prompt", goal)
    scheduler.add(two)
    assert (2, 0, 15) in plan(scheduler.schedule())
    assert two.num_cached_tokens == 0


def running_by(scheduler: Scheduler) -> dict[str, list[int]]:
    owners = dict.fromkeys(request.owner for request in scheduler.running)
    return {owner: [each.id for each in scheduler.running if each.owner == owner] for owner in owners}


def full(places: int = 4, slots: int = 1000, budget: int = 100) -> Scheduler:
    """All places are taken by one caller's long texts, and others of it wait."""
    scheduler = make_scheduler(budget, slots, places, 100)
    for number in range(min(places, 4) + 5):
        scheduler.add(generate(number, f"{number} of many", 100, "many"))
    for _ in range(3):
        run(scheduler, scheduler.schedule())
    return scheduler


def test_a_caller_that_has_nothing_running_takes_the_place_that_was_given_last() -> None:
    scheduler = full()
    assert running_by(scheduler) == {"many": [0, 1, 2, 3]}
    scheduler.add(generate(100, "new", 4, "one"))
    assert (100, 0, 3) in plan(scheduler.schedule())
    assert running_by(scheduler) == {"many": [0, 1, 2], "one": [100]}


def test_a_second_request_of_a_newcomer_waits_for_a_place() -> None:
    scheduler = full()
    scheduler.add(generate(100, "new", 4, "one"))
    scheduler.add(generate(101, "new, too", 4, "one"))
    run(scheduler, scheduler.schedule())
    assert running_by(scheduler) == {"many": [0, 1, 2], "one": [100]}


def test_who_stepped_back_goes_on_first_and_computes_only_its_tail_again() -> None:
    scheduler = full()
    stepped_back = scheduler.running[-1]
    num_cached, num_drawn = stepped_back.num_cached_tokens, len(stepped_back.tail)
    assert num_drawn > 1
    scheduler.add(new := generate(100, "new", 4, "one"))
    run(scheduler, scheduler.schedule())
    scheduler.finish(new)
    works = scheduler.schedule()
    assert (3, len("3 of many") - 1, num_drawn) in plan(works)
    assert stepped_back.num_cached_tokens == num_cached


def test_a_caller_keeps_its_share_however_many_come() -> None:
    scheduler = full(places=4)
    for number in range(100, 110):
        scheduler.add(generate(number, "new", 4, f"caller {number}"))
    run(scheduler, scheduler.schedule())
    assert running_by(scheduler) == {"many": [0], **{f"caller {n}": [n] for n in (100, 101, 102)}}


def test_nobody_steps_back_twice_so_a_stream_of_newcomers_stops_no_one() -> None:
    scheduler = full(places=2)
    last = scheduler.running[-1]
    for step in range(100, 350):
        if not scheduler.waiting.num_of("one"):
            scheduler.add(make(step, "new", Embed(), "one"))
        works = scheduler.schedule()
        run(scheduler, works)
        for request in [work.request for work in works]:
            if isinstance(request.goal, Embed) and request.num_tail_computed == 1:
                scheduler.finish(request)
        if len(last.tail) > 90:
            return
    pytest.fail("it was still set back")


def test_a_newcomer_passes_over_who_waits_for_its_own_places_alone() -> None:
    """However much it was given before."""
    scheduler = full(places=4)
    for number in range(100, 104):
        scheduler.add(request := generate(number, "a prompt that counts " * 10, 4, "one"))
        run(scheduler, scheduler.schedule())
        assert "one" in running_by(scheduler)
        scheduler.finish(request)
        run(scheduler, scheduler.schedule())
        assert len(running_by(scheduler)["many"]) == 4


def test_a_request_that_waits_for_others_memory_is_not_passed_over() -> None:
    scheduler = make_scheduler(budget=100, slots=100, running=8)
    scheduler.add(generate(1, "small", 40, "a"))
    run(scheduler, scheduler.schedule())
    scheduler.add(generate(2, "x" * 60, 20, "b"))
    run(scheduler, scheduler.schedule())
    scheduler.add(generate(3, "new", 4, "c"))
    scheduler.schedule()
    assert running_by(scheduler) == {"a": [1]}


def test_memory_is_made_for_a_newcomer_by_who_holds_more_than_half_of_it() -> None:
    scheduler = full(places=100, slots=220)  # two texts of 109 tokens each
    assert running_by(scheduler) == {"many": [0, 1]}
    scheduler.add(generate(100, "new", 60, "one"))
    assert (100, 0, 3) in plan(scheduler.schedule())
    assert running_by(scheduler) == {"many": [0], "one": [100]}


def test_a_newcomer_that_wants_more_than_its_share_of_the_memory_waits() -> None:
    scheduler = full(places=100, slots=220)
    scheduler.add(generate(100, "new", 120, "one"))
    run(scheduler, scheduler.schedule())
    assert running_by(scheduler) == {"many": [0, 1]}


def test_prefixes_that_are_pinned_and_prompts_that_are_read_do_not_step_back() -> None:
    scheduler = make_scheduler(budget=4, running=2)
    read = Generate(GenerationParameters(echo=True, logprobs=1), 0, TextState(lambda ids: "", ()))
    scheduler.add(make(1, "a long prefix to keep", Warm(), "many"))
    scheduler.add(make(2, "a long prompt to read", read, "many"))
    for _ in range(2):
        scheduler.schedule()
    assert running_by(scheduler) == {"many": [1]}
    scheduler.limits = replace(scheduler.limits, max_batched_tokens=100)
    scheduler.schedule()
    scheduler.add(generate(100, "new", 4, "one"))
    scheduler.schedule()
    assert running_by(scheduler) == {"many": [1, 2]}


def test_prefill_of_several_callers_shares_a_step() -> None:
    scheduler = make_scheduler(budget=20, slots=1000)
    scheduler.add(generate(1, "x" * 200, 4, "many"))
    run(scheduler, scheduler.schedule())
    scheduler.add(generate(2, "y" * 30, 4, "one"))
    assert plan(scheduler.schedule()) == [(1, 20, 10), (2, 0, 10)]


def pinned(scheduler: Scheduler, number: int, prefix: str) -> Request:
    warm = make(number, prefix, Warm())
    scheduler.add(warm)
    run(scheduler, scheduler.schedule())
    scheduler.finish(warm)
    return warm


def test_what_a_request_reads_of_a_pinned_prefix_needs_no_room_again() -> None:
    scheduler = make_scheduler(budget=100, slots=100)
    pinned(scheduler, 1, "p" * 60)
    request = generate(2, "p" * 60 + "ab", new=4)
    scheduler.check_fits(request)
    scheduler.check_fits(make(3, "p" * 60, Warm()))
    scheduler.add(request)
    assert scheduler.schedule()
    with pytest.raises(PromptTooLongError, match=r"65 tokens .* at most 40"):
        scheduler.check_fits(generate(4, "q" * 62, new=4))


def test_what_pinned_prefixes_share_is_counted_once() -> None:
    scheduler = make_scheduler(budget=100, slots=100)
    for number in range(4):
        pinned(scheduler, number, "p" * 40 + f"{number}")
    scheduler.check_fits(generate(9, "q" * 50, new=4))


def test_pinned_prefixes_lie_behind_everything_else_so_that_the_rest_is_in_one_piece() -> None:
    scheduler = make_scheduler(budget=200, slots=200)
    first = generate(1, "a" * 80)
    scheduler.add(first)
    run(scheduler, scheduler.schedule())
    pinned(scheduler, 2, "p" * 10)
    scheduler.finish(first)
    large = generate(3, "b" * 187, new=4)
    scheduler.check_fits(large)
    scheduler.add(large)
    assert scheduler.schedule()


def test_a_prefix_whose_request_failed_is_not_pinned() -> None:
    scheduler = make_scheduler(budget=100)
    warm = make(1, "prefix", Warm())
    scheduler.add(warm)
    run(scheduler, scheduler.schedule())
    scheduler.finish(warm, failed=True)
    assert scheduler.num_pinned_slots == 0
    assert scheduler.num_held_slots == 0


def test_others_may_ask_what_fits_while_prefixes_come_and_go() -> None:
    scheduler = make_scheduler(budget=100, slots=1000)
    request, is_over = generate(9999, "a" * 1200), threading.Event()
    failures: list[Exception] = []

    def ask() -> None:
        while not is_over.is_set():
            try:
                scheduler.check_fits(request)
            except PromptTooLongError:
                pass
            except Exception as error:  # noqa: BLE001
                failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(300):
        pinned(scheduler, number, f"{number:5}")
        if number >= 50:
            scheduler.unpin(tuple(f"{number - 50:5}".encode()))
    is_over.set()
    asking.join()
    assert failures == []
