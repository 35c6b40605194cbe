"""What int8 needs to know of a model before its weights are quantised: how large each input channel of a product gets.

A few channels of the normed activations are many times larger than the rest, and one scale a row has to span them
all. `smooth` in ops/linear_int8.py evens them out exactly, by moving a factor of each channel from the norm in front of
a product into the product's weights (SmoothQuant, arXiv 2211.10438). Which channels are large belongs to the model, not
to the text, so one short text is run through the layers while they are loaded. Deterministic on one machine.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from handful.model.ops.linear import Linear
from handful.model.ops.norm import Normalise
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


class Watched:
    """A linear layer that remembers the largest magnitude of each channel of its normed input, `[in]` float32."""

    def __init__(self, linear: Linear, norm: Normalise | None) -> None:
        self._linear, self._norm = linear, norm
        self.largest = torch.zeros(0)

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        normed = x if self._norm is None else self._norm(x)
        later = normed[1:] if len(normed) > 1 else normed  # the first token is an outlier of its own in most models
        self.largest = later.abs().amax(dim=0).float()
        return self._linear(normed, residual)


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
