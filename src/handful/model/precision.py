"""Which device and which number format a model runs in here."""

import torch

from handful.errors import InvalidParameterError
from handful.types import Device, Precision

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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
    probe = getattr(torch.cpu, feature, None)  # private names of torch: absent means unknown, so no
    return bool(probe()) if probe is not None else False


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the processor multiplies it in hardware, else float32 (the oracle, exact)."""
    if precision == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if precision not in _DTYPES:
        raise InvalidParameterError("precision", f"must be auto, float32 or bfloat16, not {precision!r}.")
    return _DTYPES[precision]


def dtype_name(dtype: torch.dtype) -> str:
    """`float32`, `bfloat16`."""
    return str(dtype).removeprefix("torch.")
