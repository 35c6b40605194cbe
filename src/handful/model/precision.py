"""Which device and which number format a model runs in here."""

from dataclasses import dataclass

import torch

from handful.errors import InvalidParameterError
from handful.model.ops.native.linear import can_multiply
from handful.model.ops.native.loading import stops_below_avx512
from handful.types import Device, Precision

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Below this hidden size a step is made of other things than products, and bytes save nothing.
LEAST_INT8_WIDTH = 512


def resolve_device(device: Device) -> torch.device:
    """`auto` takes a GPU when torch sees one. Raises InvalidParameterError for `cuda` without one."""
    if device not in ("auto", "cpu", "cuda"):
        raise InvalidParameterError("device", f"must be auto, cpu or cuda, not {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidParameterError("device", "is cuda, but torch sees no GPU here.", fix="Use cpu or auto.")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 run in hardware: AMX or avx512_bf16 on the CPU, Ampere or later on a GPU."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return any(_cpu_has(feature) for feature in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))


def _cpu_has(feature: str) -> bool:
    if stops_below_avx512():  # all that is asked for here lies above
        return False
    probe = getattr(torch.cpu, feature, None)  # private names of torch: absent means unknown, so no
    return bool(probe()) if probe is not None else False


@dataclass(frozen=True, slots=True)
class Numbers:
    """The number formats of a native model: its dtype, and whether there are int8 linears beside those of the dtype."""

    dtype: torch.dtype
    int8: bool = False


def has_native_int8(device: torch.device) -> bool:
    """Whether handful's own kernels multiply bytes, exactly: they need AVX2, and gain from AVX-VNNI and all above."""
    return device.type == "cpu" and can_multiply(torch.int8)


def has_exact_int8_in_torch(device: torch.device) -> bool:
    """Whether torch's products of bytes are exact: without AVX512-VNNI or AMX its sums may saturate."""
    features = ("_is_vnni_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(_cpu_has(feature) for feature in features)


def has_int8_products(device: torch.device) -> bool:
    """Whether products of bytes run here, exactly."""
    return has_native_int8(device) or has_exact_int8_in_torch(device)


def resolve_numbers(precision: Precision, device: torch.device, hidden_size: int) -> Numbers:
    """What a native model runs in. `auto` is int8 where the model is wide, beside bfloat16 where the processor has that
    and float32 elsewhere; with torch's products of bytes alone, only beside bfloat16.

    Raises InvalidParameterError for int8 where the processor can't.
    """
    can_int8 = has_int8_products(device)
    if precision == "auto":
        dtype = resolve_precision("auto", device)
        pays = hidden_size >= LEAST_INT8_WIDTH and (dtype == torch.bfloat16 or has_native_int8(device))
        return Numbers(dtype, can_int8 and pays)
    if precision != "int8":
        return Numbers(resolve_precision(precision, device))
    if not can_int8:
        raise InvalidParameterError(
            "precision",
            "is int8, which needs handful's native kernels and a processor with AVX2, or one with AVX512-VNNI or AMX; "
            f"this model runs on {device.type} without them.",
            fix="Use auto.",
        )
    return Numbers(resolve_precision("auto", device), int8=True)


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the processor multiplies it in hardware, else float32 (the oracle, exact).

    Raises InvalidParameterError for int8: it isn't one dtype, and only handful's own decoder runs it.
    """
    if precision == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if precision == "int8":
        raise InvalidParameterError(
            "precision", "is int8, which only models of handful's native families run in.", fix="Use auto."
        )
    if precision not in _DTYPES:
        raise InvalidParameterError("precision", f"must be auto, float32, bfloat16 or int8, not {precision!r}.")
    return _DTYPES[precision]


def dtype_name(dtype: torch.dtype) -> str:
    """`float32`, `bfloat16`."""
    return str(dtype).removeprefix("torch.")
