"""Which result of a native product in int8 is a row's largest, from half of its weights. See linear_largest.h."""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from handful.model.ops.native.linear import PANEL, ZERO_BYTE, NativeProduct, PackedWeights
from handful.model.ops.native.loading import needed_library
from handful.model.ops.native.threads import num_threads

_EVERY, _PANELS_AT_ONCE = 4, 128  # of the panels a quarter is looked at, some 20 MB at a time
MOST_ROWS = 8  # beyond, multiplying takes longer than reading, and nothing is gained by reading less


class _Screening(ctypes.Structure):
    """`Screening` of panels.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("panels", "nibbles", "sums", "squares")),
        *((name, ctypes.c_int64) for name in ("num_panels", "padded_in")),
        ("threads", ctypes.c_int32),
    )


class _Screen(ctypes.Structure):
    """`Screen` of linear.h."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("nibbles", "offsets", "losses"))


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """The upper four bits of each weight, and what is known of the lower.

    nibbles  `[P, padded in / 8, 32, 4]` uint8, two weights each
    offsets  `[32 P]` int32: -128 times the sum of a column's
    losses   `[32 P]` float32: the length of what a column's lower bits hold, times its scale
    """

    nibbles: Tensor
    offsets: Tensor
    losses: Tensor


class NativeLargest:
    """A product whose largest result is wanted. ValueError for one that ends in an activation or isn't in int8."""

    def __init__(self, product: NativeProduct) -> None:
        weights = product.weights
        if weights.panels.dtype != torch.int8 or weights.gated or weights.activation is not None:
            raise ValueError("the largest result is found of a plain product in int8")
        self._product, self.screen = product, _screen(weights)
        kept = (self.screen.nibbles, self.screen.offsets, self.screen.losses)
        self._struct = _Screen(*(array.data_ptr() for array in kept))
        self._function = needed_library().functions.handful_largest
        self._function.argtypes, self._function.restype = [ctypes.c_void_p] * 4, None

    def __call__(self, x: Tensor) -> Tensor:
        """The column of each row's largest result: x `[N, in]`, at most `MOST_ROWS` rows -> `[N]` int64.

        The first of equals, and that of a NaN before all. A column is left out where it is eight standard deviations
        short of the largest by what the upper bits say; of the others the results are `linear`'s, bit by bit.
        """
        if len(x) > MOST_ROWS:
            raise ValueError(f"at most {MOST_ROWS} rows are screened at once, not {len(x)}")
        found = torch.empty(len(x), dtype=torch.int64)
        if len(x):
            some = torch.empty((len(x), self._product.num_out))  # only what is computed is written
            call, _room = self._product.prepare(x, some)
            addresses = (self._product.address, ctypes.addressof(self._struct), ctypes.addressof(call))
            self._function(*addresses, found.data_ptr())
        return found


def farthest_off(weights: PackedWeights, quantised: Tensor) -> float:
    """How many standard deviations, as linear_largest.h assumes them, the upper bits are off at most.

    `quantised` `[N, in]` are rows of bytes, evened as the product evens its own; a quarter of the columns is looked at.
    What is lost of a column isn't unrelated to a row where both owe their size to the same few inputs.
    """
    rows, num_in, most = quantised.float(), weights.num_in, 0.0
    lengths = rows.norm(dim=1)[:, None] / num_in**0.5
    for panels in torch.split(weights.panels[::_EVERY], _PANELS_AT_ONCE):
        columns = panels.permute(0, 2, 1, 3).reshape(len(panels) * PANEL, -1)[:, :num_in].to(torch.int16)
        lost = (columns - 16 * ((columns + 8) >> 4).clamp(max=7)).float()
        off = (rows @ lost.T).abs() / (lengths * lost.norm(dim=1)).clamp_min(1e-30)
        most = max(most, float(off.max()))
    return most


def _screen(weights: PackedWeights) -> Screen:
    panels, depth, *_ = weights.panels.shape
    columns, padded_in = panels * PANEL, depth * 4
    nibbles = torch.empty((panels, depth // 2, PANEL, 4), dtype=torch.uint8)
    sums, squares = torch.empty(columns, dtype=torch.int32), torch.empty(columns)
    pointers = (x.data_ptr() for x in (weights.panels, nibbles, sums, squares))
    call = _Screening(*pointers, panels, padded_in, num_threads())
    needed_library().functions.handful_screen(ctypes.byref(call))
    return Screen(nibbles, sums * -ZERO_BYTE, squares.sqrt() * weights.scales)
