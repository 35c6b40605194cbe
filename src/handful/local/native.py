"""A model in handful's own decoder: an engine around it, with memory for keys and values."""

from dataclasses import replace

from handful.config import Settings
from handful.engine.arena import Arena
from handful.engine.device_runner import DeviceRunner, make_runner
from handful.engine.engine import Engine
from handful.engine.runner import KEPT_SHARE
from handful.engine.scheduler import Limits, Scheduler
from handful.engine.segment_tree import SegmentTree
from handful.local.model import LocalModel
from handful.model.load import LoadedModel
from handful.model.ops.native.threads import use_helpers

MEBIBYTE = 2**20
MIN_SLOTS = 64
FREE_ROWS = 16  # rows of a step that take as long as reading the weights: docs/log.md


def limits_of(settings: Settings, kv_bytes_per_token: float) -> Limits:
    """The engine's budgets; the memory for keys and values counted in tokens."""
    return Limits(
        max_batched_tokens=settings.max_batched_tokens,
        max_running_requests=settings.max_running_requests,
        max_queued_requests=settings.max_queued_requests,
        max_queued_each=max(1, int(settings.max_queued_requests * settings.max_queue_share)),
        free_rows=FREE_ROWS if settings.drafts else 0,
        num_slots=max(int(settings.kv_memory_mb * MEBIBYTE / kv_bytes_per_token), MIN_SLOTS),
    )


def native_model(loaded: LoadedModel, settings: Settings) -> LocalModel:
    """A model that answers, around weights in memory."""
    bytes_per_token = loaded.spec.kv_bytes_per_token(loaded.decoder.dtype)
    limits = limits_of(settings, bytes_per_token * (1 + KEPT_SHARE if loaded.decoder.attention_in_bytes else 1))
    runner = make_runner(loaded.decoder, limits.num_slots, graphs=settings.cuda_graphs)
    if isinstance(runner, DeviceRunner) and runner.graphs is not None:
        limits = replace(limits, free_rows=0)  # guesses would keep a step from being replayed, which saves more
    scheduler = Scheduler(SegmentTree(Arena(limits.num_slots)), limits)
    engine = Engine(runner, scheduler, frozenset(loaded.tokenizer.eos_token_ids))
    model = LocalModel(engine, loaded.tokenizer, loaded.info, settings, limits.num_slots * bytes_per_token)
    if loaded.decoder.is_native:
        model.loop.call(lambda _: use_helpers())
    return model
