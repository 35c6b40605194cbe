"""No step waits for its device but where it fetches what it was run for.

The model lies on torch's meta device, whose tensors have shapes and no values: whoever looks at one (`item`, `tolist`,
`bool`, `cpu`, a boolean mask as an index, `nonzero`) gets an error. `fetch` alone is let through, and counted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from handful.engine.arena import Arena
from handful.engine.device_runner import DeviceRunner
from handful.engine.engine import Engine, StepRunner
from handful.engine.events import Failed
from handful.engine.labels import LabelTrie
from handful.engine.request import Embed, Generate, Goal, Request, ScoreLabels
from handful.engine.runner import Runner
from handful.engine.scheduler import Limits, Scheduler
from handful.engine.segment_tree import SegmentTree
from handful.engine.stopping import TextState
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.decoder import Decoder
from handful.model.families import spec_from_config
from handful.model.ops.varlen import varlen_kernel
from handful.types import GenerationParameters
from tests.parity.engines import Recorder
from tests.unit.model.tiny_models import VARIANTS, checkpoint

META = torch.device("meta")
SLOTS = 4000
COPIES = (torch.ops.aten.to, torch.ops.aten._to_copy, torch.ops.aten.copy_)


def decoder(variant: str) -> Decoder:
    folder = checkpoint(variant)
    with Checkpoint(folder) as weights:
        return Decoder.load(spec_from_config(read_config(folder)), weights, torch.float32, META)


def plain(variant: str) -> StepRunner:
    return Runner(decoder(variant), SLOTS)


def device(variant: str) -> StepRunner:
    return DeviceRunner(decoder(variant), SLOTS, varlen_kernel())


def recorded(variant: str) -> StepRunner:
    return DeviceRunner(decoder(variant), SLOTS, varlen_kernel(), Recorder())


@dataclass
class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What crosses between host and device. Made from `__post_init__`: a mode has an `__init__` of its own."""

    num_sent: int = 0
    num_fetches: int = 0
    waited: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        tensors = [x for x in tree_leaves((args, named)) if isinstance(x, Tensor) and x.dim()]
        places = {x.device.type for x in tensors}
        if func.overloadpacket in COPIES and "cpu" in places:
            to_device = "meta" in places or torch.device(named.get("device", "cpu")).type == "meta"
            self.num_sent += to_device
            if to_device and not (named.get("non_blocking") or any(x is True for x in args)):
                self.waited.append(f"{func} without non_blocking")
        elif len(places) > 1:
            self.waited.append(f"{func} of tensors in both places")
        return func(*args, **named)

    def fetch(self, *tensors: Tensor) -> list[Tensor]:
        """Nothing but zeros, after a wait."""
        self.num_fetches += bool(tensors)
        return [torch.zeros(x.shape, dtype=x.dtype) for x in tensors]


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    found = Traffic()
    monkeypatch.setattr("handful.engine.readout.fetch", found.fetch)
    monkeypatch.setattr("handful.engine.logits.fetch", found.fetch)
    make = torch.tensor

    def tensor(*args: Any, **named: Any) -> Tensor:
        if torch.device(named.get("device") or "cpu").type != "cpu":  # torch hides this copy from the mode
            found.waited.append("torch.tensor on the device")
        return make(*args, **named)

    monkeypatch.setattr(torch, "tensor", tensor)
    return found


def generate(**parameters: Any) -> Goal:
    return Generate(GenerationParameters(max_new_tokens=4, **parameters), 0, TextState(lambda ids: "", ()))


def score() -> Goal:
    return ScoreLabels(LabelTrie.build([[1], [2, 3], [2, 4, 5]]))


def steps(runner: StepRunner, goals: list[Goal], traffic: Traffic) -> list[tuple[int, int]]:
    """Run requests that share most of their prompts: (pieces sent for the model, waits in all) of every step."""
    limits = Limits(
        max_batched_tokens=300, max_running_requests=64, max_queued_requests=64, num_slots=SLOTS, free_rows=64
    )
    made = Engine(runner, Scheduler(SegmentTree(Arena(SLOTS)), limits), frozenset())
    counted, sent = [], [0]
    run = runner.run

    def watched(works: Any) -> Any:
        before = traffic.num_sent
        found = run(works)
        sent[0] = traffic.num_sent - before
        return found

    runner.run = watched  # type: ignore[method-assign]
    for number, goal in enumerate(goals):
        made.add(Request(number, (*[i % 50 for i in range(130)], 7, number), goal))
    while made.has_work:
        sent[0], before = 0, traffic.num_fetches
        with traffic:
            events = made.step()
        assert not any(isinstance(event, Failed) for event in events)
        counted.append((sent[0], traffic.num_fetches - before))
    return counted


MAKERS: dict[str, Callable[[str], StepRunner]] = {"plain": plain, "device": device, "recorded": recorded}


@pytest.mark.parametrize("how", MAKERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_family_waits_within_a_step(variant: str, how: str, traffic: Traffic) -> None:
    goals = [make() for make in (generate, score, Embed, partial(Embed, 1), generate)]
    steps(MAKERS[how](variant), goals, traffic)
    assert traffic.waited == []


@pytest.mark.parametrize("how", ["device", "recorded"])
def test_a_step_sends_one_piece_and_waits_once_for_greedy_tokens(how: str, traffic: Traffic) -> None:
    counted = steps(MAKERS[how]("gpt_neo"), [generate() for _ in range(5)], traffic)
    assert {sent for sent, _ in counted} == {1}
    assert [waits for _, waits in counted if waits] == [1] * sum(waits > 0 for _, waits in counted)
    assert sum(waits for _, waits in counted) >= 3


@pytest.mark.parametrize(
    "goal",
    [
        score,
        Embed,
        partial(generate, temperature=0.7, top_k=5),
        partial(generate, logprobs=3),
        partial(generate, repetition_penalty=1.3, logit_bias=((3, 1.0),)),
    ],
)
def test_a_step_waits_once_however_many_requests_of_a_kind_it_serves(
    goal: Callable[[], Goal], traffic: Traffic
) -> None:
    counted = steps(device("llama"), [goal() for _ in range(9)], traffic)
    assert max(waits for _, waits in counted) == 1


def test_a_device_whose_tensors_are_looked_at_complains() -> None:
    """What the tests above rest on."""
    there = torch.zeros(3, device=META)
    for look in (Tensor.tolist, Tensor.cpu, lambda x: bool(x.sum()), lambda x: x[x > 0], torch.nonzero):
        with pytest.raises((RuntimeError, NotImplementedError)):
            look(there)
    for mode in (torch.inference_mode, torch.enable_grad):
        with Traffic() as traffic, mode():
            there[torch.tensor([1])]
            torch.zeros(3).to(META)
            there.copy_(torch.zeros(3))
        assert len(traffic.waited) == 3
        with Traffic() as traffic, mode():
            torch.zeros(3).to(META, non_blocking=True)
            there.copy_(torch.zeros(3), non_blocking=True)
        assert (traffic.num_sent, traffic.waited) == (2, [])
