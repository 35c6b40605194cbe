"""Arrays in one piece: what comes out is what went in."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handful.engine.parcel import ALIGNMENT, pack, unpack


def test_arrays_come_out_as_they_went_in_each_aligned() -> None:
    arrays: list[NDArray[Any]] = [
        np.arange(3, dtype=np.int32),
        np.array([[1, -2], [3, 4]], dtype=np.int64),
        np.zeros(0, dtype=np.int64),
        np.array([0, -np.inf], dtype=np.float32),
        np.arange(10, dtype=np.int64)[::2],
    ]
    places, data = pack(arrays)
    found = unpack(places, torch.from_numpy(data))
    assert all(np.array_equal(tensor.numpy(), array) for tensor, array in zip(found, arrays, strict=True))
    assert [tensor.numpy().dtype for tensor in found] == [array.dtype for array in arrays]
    assert all(place.offset % ALIGNMENT == 0 for place in places)


def test_other_values_of_the_same_shapes_show_where_the_first_lay() -> None:
    places, data = pack([np.arange(4), np.ones(2, dtype=np.float32)])
    held = torch.from_numpy(data)
    first, second = unpack(places, held)
    again, other = pack([np.arange(4) + 7, np.full(2, 3, dtype=np.float32)])
    held.copy_(torch.from_numpy(other))
    assert again == places
    assert first.tolist() == [7, 8, 9, 10]
    assert second.tolist() == [3, 3]
