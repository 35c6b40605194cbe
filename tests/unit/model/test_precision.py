"""What `auto` becomes on this machine and on others."""

import pytest
import torch

from handful.errors import InvalidParameterError
from handful.model import precision
from handful.model.precision import INT8_KINDS, dtype_name, resolve_device, resolve_numbers, resolve_precision

CPU = torch.device("cpu")


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


def test_int8_says_which_linears_are_quantised_and_what_the_rest_runs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_has", lambda feature: True)
    numbers = resolve_numbers("int8", CPU)
    assert (numbers.dtype, numbers.int8, numbers.name) == (torch.bfloat16, INT8_KINDS, "int8")
    monkeypatch.setattr(precision, "_cpu_has", lambda feature: feature == "_is_vnni_supported")
    assert resolve_numbers("int8", CPU).dtype == torch.float32


@pytest.mark.parametrize(("device", "fast"), [("cpu", False), ("cuda", True)])
def test_int8_is_refused_where_it_cannot_be_exact(device: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_has", lambda feature: fast)
    with pytest.raises(InvalidParameterError, match="int8"):
        resolve_numbers("int8", torch.device(device))


def test_auto_never_picks_int8() -> None:
    assert not resolve_numbers("auto", CPU).int8


def test_int8_is_refused_for_models_that_run_through_transformers() -> None:
    with pytest.raises(InvalidParameterError, match="native"):
        resolve_precision("int8", CPU)
