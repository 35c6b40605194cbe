"""Which runner a native model gets, and what that means for its drafts."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from handful.config import Settings
from handful.engine import device_runner
from handful.engine.cuda_capture import CudaCapture
from handful.engine.device_runner import DeviceRunner, make_runner
from handful.engine.runner import Runner
from handful.local import LocalModel, load
from handful.local.native import FREE_ROWS
from handful.model.decoder import Decoder
from handful.model.ops.varlen import varlen_plain
from handful.model.precision import has_exact_int8_in_torch
from handful.types import GenerationParameters, Precision
from tests.parity.engines import Recorder, decoder
from tests.unit.model.instructions import limited
from tests.unit.model.tiny_models import checkpoint, write_checkpoint

REPEATING = "the review is good\nthe review is bad\n" * 4


class OnGpu:
    """A decoder that says it is on a GPU. Its tensors are where they were."""

    def __init__(self, inner: Decoder, dtype: torch.dtype) -> None:
        self.spec, self.dtype = inner.spec, dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cuda")


def make() -> LocalModel:
    made = load(str(checkpoint("llama")), configuration=Settings(precision="float32", kv_memory_mb=16))
    assert isinstance(made, LocalModel)
    return made


@pytest.fixture
def model() -> Iterator[LocalModel]:
    made = make()
    yield made
    made.close()


@pytest.fixture
def device_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalModel]:
    def as_on_a_gpu(decoder: Decoder, num_slots: int, *, graphs: bool) -> DeviceRunner:
        return DeviceRunner(decoder, num_slots, varlen_plain, Recorder() if graphs else None)

    monkeypatch.setattr("handful.local.native.make_runner", as_on_a_gpu)
    made = make()
    yield made
    made.close()


def free_rows(made: LocalModel) -> int:
    found: list[int] = []
    made.loop.call(lambda engine: found.append(engine.scheduler.limits.free_rows))
    return found[0]


def test_where_steps_are_replayed_nothing_is_drafted_and_the_text_is_the_same(
    model: LocalModel, device_model: LocalModel
) -> None:
    greedy = GenerationParameters(max_new_tokens=20)
    prompts = [REPEATING + text for text in ("the", "the review", "a film is")]
    assert device_model.generate(prompts, greedy) == model.generate(prompts, greedy)
    labels = [" good", " bad", " the review is"]
    for far, near in zip(device_model.score(prompts, labels), model.score(prompts, labels), strict=True):
        assert far.logprobs == pytest.approx(near.logprobs, abs=1e-4)
    for layer in (None, 1, 2):
        there, here = (each.embed(prompts, layer=layer) for each in (device_model, model))
        assert np.abs(there - here).max() < 1e-4
    assert (free_rows(model), free_rows(device_model)) == (FREE_ROWS, 0)
    assert device_model.loop.stats().num_drafted_tokens == 0


def test_on_a_processor_a_model_runs_as_it_does_there() -> None:
    assert isinstance(make_runner(decoder("llama"), 100), Runner)


class Plain:
    """Torch's own operations, on a GPU."""

    def __init__(self, decoder: Decoder, num_slots: int) -> None:
        pass


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """An H100, as far as it is asked before anything runs; memory is taken where there is some."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)

    class OnHost(DeviceRunner):
        def __init__(self, decoder: Decoder, *more: object) -> None:
            self.made_with = more

    monkeypatch.setattr(device_runner, "DeviceRunner", OnHost)
    monkeypatch.setattr(device_runner, "Runner", Plain)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("graphs", [True, False])
def test_on_a_gpu_it_gets_the_kernel_and_recorded_steps_unless_they_are_off(graphs: bool) -> None:
    made = make_runner(OnGpu(decoder("llama"), torch.bfloat16), 100, graphs=graphs)  # type: ignore[arg-type]
    num_slots, kernel, capture = made.made_with  # type: ignore[attr-defined]
    assert num_slots == 100
    assert callable(kernel)
    assert isinstance(capture, CudaCapture) if graphs else capture is None


@pytest.mark.usefixtures("gpu")
def test_what_the_kernel_does_not_take_runs_on_torchs_own_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        made = make_runner(OnGpu(decoder("llama"), torch.float32), 100)  # type: ignore[arg-type]
    assert isinstance(made, Plain)
    assert "float16 and bfloat16, not float32" in caplog.text


@pytest.mark.skipif(not has_exact_int8_in_torch(torch.device("cpu")), reason="torch has no exact int8 here")
@pytest.mark.parametrize("precision", ["int8", "bfloat16", "float32"])
def test_without_kernels_prefixes_are_pinned_and_long_prompts_read(precision: Precision) -> None:
    wide = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    with limited("all"):  # and afterwards again
        configuration = Settings(precision=precision, kv_memory_mb=16, instructions="none", max_batched_tokens=32)
        made = load(str(write_checkpoint("llama", wide)), configuration=configuration)
        made.pin("the review was a good film " * 4)
        assert made.generate(["the review was a good film " * 5], GenerationParameters(max_new_tokens=3))
        assert made.score(["the review was"], [" good", " a film"])
        made.close()
