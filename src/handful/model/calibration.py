"""A short text to run through a model's layers while they are loaded, and the attention for it.

What int8 has to know of a model (quantising.py) belongs to the model, not to the text, so one text serves for all.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from handful.model.spec import ModelSpec

TEXT = """Say whether each message is a question, a complaint or praise.

Message: The parcel arrived two days late and the box was torn, so I'd like my money back.
Kind: complaint

Message: Could you tell me if the blue one (size 42) is still in stock?
Kind: question

Message: What a lovely little shop! Everyone was friendly, and the coffee is the best in town.
Kind: praise

In 1969 two people walked on the Moon. Water boils at 100 °C at sea level; at 3,000 metres it boils at about 90.
def area(width, height): return width * height
She opened the door, looked at the rain and went back to her book. "Tomorrow," she said, "or the day after."
"""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The tokens `[T]` of a text to measure int8 on, and how far it may move predictions, in nats a token; None: as far
    as it likes."""

    tokens: Tensor
    max_divergence: float | None = None

    def forbids(self, divergence: float) -> bool:
        """Whether that is too far. NaN always is."""
        return self.max_divergence is not None and not divergence <= self.max_divergence


class OneSequence:
    """The attention of one sequence that begins here: causal, in float32, nothing kept. An `Attend`."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q `[N, H, D]`, k and v `[N, Hkv, D]` -> `[N, H, D]`."""
        position = torch.arange(q.shape[0], device=q.device)
        distance = position[:, None] - position[None, :]
        window = self._spec.windows[layer]
        sees = (distance >= 0) & (distance < (window or q.shape[0]))
        group = self._spec.num_heads // self._spec.num_kv_heads
        heads = (q, k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1))
        query, key, value = (x.float().transpose(0, 1) for x in heads)
        out = F.scaled_dot_product_attention(query, key, value, sees, scale=self._spec.attention_scale)
        return out.transpose(0, 1).to(q.dtype)
