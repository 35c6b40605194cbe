"""The two norms. Statistics are computed in float32 whatever the dtype, as Transformers does."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from handful.model.spec import Norm


@dataclass(frozen=True, slots=True, eq=False)
class Normalise:
    """A layer or RMS norm over the last dimension. `weight` and `bias` `[d]`; None where the norm has none."""

    kind: Norm
    eps: float
    size: int
    weight: Tensor | None = None
    bias: Tensor | None = None

    def __call__(self, x: Tensor, /) -> Tensor:
        """`[..., d]` -> `[..., d]`, same dtype."""
        if self.kind == "layer":
            return F.layer_norm(x, (self.size,), self.weight, self.bias, self.eps)
        return F.rms_norm(x, (self.size,), self.weight, self.eps)
