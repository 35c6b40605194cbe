"""What is kept of shared runs: made once, while there is room, dropped with the segment or when it is split."""

import gc

from handful.engine.arena import Arena
from handful.engine.batch import Run
from handful.engine.kept_tiles import BUSY_STEPS, TileStore
from handful.engine.segment_tree import SegmentTree
from handful.engine.segments import Segment
from handful.model.checkpoint import read_config
from handful.model.families import spec_from_config
from tests.unit.model.tiny_models import checkpoint

SPEC = spec_from_config(read_config(checkpoint("llama")))
TILE_BYTES = 64
TILE = SPEC.num_layers * SPEC.num_kv_heads * TILE_BYTES  # of all layers and heads


def segment(length: int, start: int = 0) -> Segment:
    return Segment(tuple(range(length)), 0, start, Segment((), 0, 0, None), num_computed=length)


def run_of(one: Segment) -> Run:
    return Run(one, 0, 1)


def store(num_tiles: int) -> TileStore:
    return TileStore(SPEC, TILE_BYTES, num_tiles * TILE)


def test_a_runs_tiles_are_filled_by_the_step_that_made_them_and_the_same_from_then_on() -> None:
    kept, run = store(10), run_of(segment(100))
    (first,) = kept.plan([run], [True])
    kept.note_step()
    (second,) = kept.plan([run], [False])
    assert first is not None
    assert not first.filled
    assert second is not None
    assert second.filled
    assert first.memory is second.memory
    assert first.memory.shape == (SPEC.num_layers, SPEC.num_kv_heads, 2, TILE_BYTES)


def test_a_step_that_failed_leaves_its_tiles_to_be_filled() -> None:
    kept, run = store(10), run_of(segment(100))
    kept.plan([run], [True])
    (again,) = kept.plan([run], [True])
    assert again is not None
    assert not again.filled


def test_nothing_is_kept_of_less_than_a_tile() -> None:
    kept = store(10)
    assert kept.plan([run_of(segment(63))], [True]) == (None,)
    assert kept.num_bytes == 0


def test_what_one_request_reads_makes_room_for_what_is_shared_but_not_for_its_like() -> None:
    kept, own, other, shared = store(3), segment(100), segment(100, start=500), segment(128, start=900)
    kept.plan([run_of(own)], [False])
    assert kept.plan([run_of(other)], [False]) == (None,)
    tiles, none = kept.plan([run_of(shared), run_of(own)], [True, False])
    assert tiles is not None
    assert none is None


def test_of_a_steps_runs_those_that_are_shared_find_room_first() -> None:
    kept, own, shared = store(3), segment(100), segment(100, start=500)
    none, tiles = kept.plan([run_of(own), run_of(shared)], [False, True])
    assert none is None
    assert tiles is not None


def test_what_is_split_is_made_anew() -> None:
    tree, kept = SegmentTree(Arena(1000)), store(10)
    lease = tree.acquire(range(200), 0)
    assert lease is not None
    whole = lease.leaf
    whole.num_computed = 200
    kept.plan([run_of(whole)], [True])
    kept.note_step()
    tree.acquire([*range(100), 999], 0)  # parts from the first behind 100 tokens
    front, back = kept.plan([run_of(one) for one in whole.path()], [True, True])
    assert front is not None
    assert back is not None
    assert not front.filled
    assert not back.filled
    assert kept.num_bytes == 4 * TILE  # two tiles each


def test_what_leaves_the_tree_takes_its_tiles_along() -> None:
    kept, gone = store(10), segment(100)
    kept.plan([run_of(gone)], [True])
    assert kept.num_bytes == 2 * TILE
    del gone
    gc.collect()
    assert kept.num_bytes == 0


def test_runs_that_take_turns_do_not_drive_each_other_out_but_idle_ones_go() -> None:
    kept, first, second = store(3), segment(100), segment(128, start=500)
    kept.plan([run_of(first)], [True])
    assert kept.plan([run_of(second)], [True]) == (None,)
    for _ in range(BUSY_STEPS):
        kept.plan([], [])
    (tiles,) = kept.plan([run_of(second)], [True])
    assert tiles is not None
    assert kept.plan([run_of(first)], [False]) == (None,)


def test_a_smaller_run_finds_the_room_that_a_larger_one_of_the_same_step_did_not() -> None:
    kept, large, small = store(3), segment(400), segment(100, start=500)
    none, tiles, again = kept.plan([run_of(large), run_of(small), run_of(segment(300, start=900))], [False] * 3)
    assert none is None
    assert tiles is not None
    assert again is None


def test_what_found_no_room_is_asked_again_in_the_next_step() -> None:
    kept, first, second = store(3), segment(100), segment(128, start=500)
    assert kept.plan([run_of(first), run_of(second)], [False, False])[1] is None
    del first
    gc.collect()
    assert kept.plan([run_of(second)], [False])[0] is not None


def test_a_run_that_never_fits_drives_nothing_out() -> None:
    kept, small, large = store(3), segment(100), segment(400, start=500)
    kept.plan([run_of(small)], [True])
    for _ in range(BUSY_STEPS + 1):
        kept.plan([], [])
    assert kept.plan([run_of(large)], [True]) == (None,)
    assert kept.num_bytes == 2 * TILE
