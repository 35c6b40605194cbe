"""What `auto` becomes on this machine and on others."""

import pytest
import torch

from handful.errors import InvalidParameterError
from handful.model import precision
from handful.model.precision import Numbers, dtype_name, resolve_device, resolve_numbers, resolve_precision
from handful.types import Instructions
from tests.unit.model.instructions import limited

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_native_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a test says of the processor counts."""
    monkeypatch.setattr(precision, "can_multiply", lambda dtype: False)


@pytest.mark.parametrize(("fast", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_where_the_processor_has_it(
    fast: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_has", lambda feature: fast)
    assert resolve_precision("auto", CPU) == dtype


def test_a_torch_that_cannot_say_what_the_processor_has_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    for feature in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, feature, raising=False)
    assert resolve_precision("auto", CPU) == torch.float32


def test_a_named_precision_is_taken() -> None:
    assert resolve_precision("float32", CPU) == torch.float32
    assert dtype_name(resolve_precision("bfloat16", CPU)) == "bfloat16"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="precision"):
        resolve_precision("int4", CPU)  # type: ignore[arg-type]


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidParameterError, match="no GPU"):
        resolve_device("cuda")


def test_auto_takes_a_gpu_only_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="device"):
        resolve_device("tpu")  # type: ignore[arg-type]


def test_int8_stands_beside_the_dtype_that_auto_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_has", lambda feature: True)
    assert resolve_numbers("int8", CPU, 64) == Numbers(torch.bfloat16, int8=True)
    monkeypatch.setattr(precision, "_cpu_has", lambda feature: feature == "_is_vnni_supported")
    assert resolve_numbers("int8", CPU, 64) == Numbers(torch.float32, int8=True)


@pytest.mark.parametrize(("device", "fast"), [("cpu", False), ("cuda", True)])
def test_int8_is_refused_where_it_cannot_be_exact(device: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_has", lambda feature: fast)
    with pytest.raises(InvalidParameterError, match="int8"):
        resolve_numbers("int8", torch.device(device), 576)


@pytest.mark.parametrize(
    ("features", "hidden_size", "int8"),
    [
        ({"_is_vnni_supported", "_is_avx512_bf16_supported"}, 576, True),
        ({"_is_vnni_supported", "_is_avx512_bf16_supported"}, 256, False),  # too narrow to gain
        ({"_is_avx512_bf16_supported"}, 576, False),
        ({"_is_vnni_supported"}, 576, False),  # auto is float32 there: exact
    ],
)
def test_auto_takes_int8_where_processor_and_shape_make_it_pay(
    features: set[str], hidden_size: int, int8: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_has", lambda feature: feature in features)
    assert resolve_numbers("auto", CPU, hidden_size).int8 is int8


@pytest.mark.parametrize(("hidden_size", "int8"), [(576, True), (256, False)])
def test_auto_is_int8_beside_float32_where_only_the_native_kernels_are_fast(
    hidden_size: int, int8: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_has", lambda feature: False)
    monkeypatch.setattr(precision, "can_multiply", lambda dtype: dtype == torch.int8)
    assert resolve_numbers("auto", CPU, hidden_size) == Numbers(torch.float32, int8)
    assert resolve_numbers("int8", CPU, hidden_size) == Numbers(torch.float32, int8=True)


@pytest.mark.parametrize("instructions", ["avx-vnni", "avx2"])
def test_a_limit_below_avx512_is_a_processor_without_fast_bfloat16(instructions: Instructions) -> None:
    with limited(instructions):
        assert resolve_numbers("auto", CPU, 576) == Numbers(torch.float32)


def test_a_named_precision_is_never_int8_besides() -> None:
    assert resolve_numbers("bfloat16", CPU, 576) == Numbers(torch.bfloat16)


def test_int8_is_refused_for_models_that_run_through_transformers() -> None:
    with pytest.raises(InvalidParameterError, match="native"):
        resolve_precision("int8", CPU)
