"""Engines over tiny random models, run to the end without threads: what the parity tests are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from handful.engine.arena import Arena
from handful.engine.decode_graphs import Capture
from handful.engine.device_runner import DeviceRunner
from handful.engine.engine import Engine, StepRunner
from handful.engine.events import Completed, Event, Failed, PromptRead, Scored, TokenDrawn
from handful.engine.labels import LabelTrie
from handful.engine.naive_cache import NaiveCache
from handful.engine.request import Generate, Request, ScoreLabels
from handful.engine.runner import Runner
from handful.engine.scheduler import Limits, Scheduler
from handful.engine.segment_tree import SegmentTree
from handful.engine.stopping import TextState
from handful.model.calibration import Calibration
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.decoder import Decoder
from handful.model.families import spec_from_config
from handful.model.ops.varlen import varlen_plain
from handful.types import GenerationParameters, Instructions
from tests.unit.model.instructions import limited
from tests.unit.model.tiny_models import checkpoint, random_tokens


@cache
def decoder(variant: str) -> Decoder:
    """A tiny model in handful's own decoder, float32."""
    folder = checkpoint(variant)
    with Checkpoint(folder) as weights:
        return Decoder.load(spec_from_config(read_config(folder)), weights, torch.float32, torch.device("cpu"))


@cache
def int8_decoder(variant: str, *, attention: bool) -> Decoder:
    """The same with int8 linears beside bfloat16, and its attention in bytes or not."""
    folder = checkpoint(variant)
    with Checkpoint(folder) as weights:
        spec, place = spec_from_config(read_config(folder)), torch.device("cpu")
        made = Decoder.load(spec, weights, torch.bfloat16, place, Calibration(random_tokens(150, 3)))
    made.attention_in_bytes = frozenset(range(spec.num_layers)) if attention else frozenset()
    return made


class Recorder:
    """Stands in for CUDA graphs: a replay runs what was recorded again and puts the result where the first one lay.

    So it sees what a graph sees: the memory that was there when it was recorded, whatever is in it now.
    """

    def __init__(self) -> None:
        self.num_recorded, self.num_replayed = 0, 0

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        result = run()
        self.num_recorded += 1

        def replay() -> Tensor:
            self.num_replayed += 1
            result.copy_(run())
            return result

        return replay


@dataclass(frozen=True, slots=True)
class Setup:
    """How an engine is set up: sharing or not, how many tokens a step, the native kernel or torch's own attention.

    `instructions` bounds what the native kernel uses; with "none" there is none. `as_device`: as on a GPU, with the
    kernel's twin; `capture` is what records decoding steps there. `free_rows` decides how often it drafts: 0 never,
    many rows nearly always.
    """

    share: bool = True
    native: bool = True
    as_device: bool = False
    capture: Capture | None = None
    budget: int = 512
    slots: int = 20_000
    running: int = 128
    free_rows: int = 64
    instructions: Instructions = "all"


def engine(variant: str, setup: Setup | None = None, eos: frozenset[int] = frozenset()) -> Engine:
    """An engine with nothing in its cache."""
    chosen = setup or Setup()
    return engine_of(runner(variant, chosen), chosen, eos)


def engine_of(steps: StepRunner, chosen: Setup, eos: frozenset[int] = frozenset()) -> Engine:
    """An engine that runs its steps so, with nothing in its cache."""
    arena = Arena(chosen.slots)
    limits = Limits(
        max_batched_tokens=chosen.budget,
        max_running_requests=chosen.running,
        max_queued_requests=1000,
        num_slots=chosen.slots,
        free_rows=chosen.free_rows,
    )
    cache_ = SegmentTree(arena) if chosen.share else NaiveCache(arena)
    return Engine(steps, Scheduler(cache_, limits), eos)


def runner(variant: str, chosen: Setup) -> StepRunner:
    """The runner of a setup."""
    if chosen.as_device:
        return DeviceRunner(decoder(variant), chosen.slots, varlen_plain, chosen.capture)
    with limited(chosen.instructions):
        return Runner(decoder(variant), chosen.slots, native=chosen.native)


def run(made: Engine) -> list[Event]:
    """Steps until nothing is left; ownership is recounted after every step."""
    events: list[Event] = []
    while made.has_work:
        events += made.step()
        made.check_integrity()
    for event in events:
        if isinstance(event, Failed):
            raise event.error
    return events


def greedy(made: Engine, prompts: Sequence[Sequence[int]], num_new_tokens: int = 8) -> list[list[int]]:
    """The greedy continuations of prompts that are handed in together."""
    parameters = GenerationParameters(max_new_tokens=num_new_tokens)
    return generate(made, prompts, [parameters] * len(prompts))


def generate(
    made: Engine, prompts: Sequence[Sequence[int]], parameters: Sequence[GenerationParameters]
) -> list[list[int]]:
    """The tokens generated for prompts that are handed in together, each with its own parameters."""
    requests = []
    for number, (prompt, wanted) in enumerate(zip(prompts, parameters, strict=True)):
        goal = Generate(wanted, wanted.seed or 0, TextState(lambda ids: "", ()))
        requests.append(Request(number, tuple(prompt), goal))
        made.add(requests[-1])
    events = run(made)
    assert sum(isinstance(event, Completed) for event in events) == len(prompts)
    assert sum(isinstance(event, TokenDrawn) for event in events) == sum(len(r.output) for r in requests)
    return [request.output for request in requests]


def prompt_logprobs(made: Engine, prompt: Sequence[int]) -> list[float]:
    """Log-probability of every prompt token but the first."""
    parameters = GenerationParameters(max_new_tokens=0, echo=True, logprobs=0)
    made.add(Request(0, tuple(prompt), Generate(parameters, 0, TextState(lambda ids: "", ()))))
    reads = [event for event in run(made) if isinstance(event, PromptRead)]
    return [s.logprob for read in reads for s in read.sampled if s.logprob is not None]


def score(made: Engine, prompt: Sequence[int], labels: Sequence[Sequence[int]]) -> list[float]:
    """Log-probability of every label behind the prompt."""
    return scores(made, [prompt], labels)[0]


def scores(made: Engine, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]) -> list[list[float]]:
    """Log-probabilities of every label behind each of some prompts that are handed in together."""
    for number, prompt in enumerate(prompts):
        made.add(Request(number, tuple(prompt), ScoreLabels(LabelTrie.build(labels))))
    found = {event.request.id: list(event.logprobs) for event in run(made) if isinstance(event, Scored)}
    assert len(found) == len(prompts)
    return [found[number] for number in range(len(prompts))]


def sampled(seed: int) -> GenerationParameters:
    """Sampling parameters that make use of everything."""
    return replace(GenerationParameters(max_new_tokens=8, temperature=0.9, top_k=40, top_p=0.95), seed=seed)
