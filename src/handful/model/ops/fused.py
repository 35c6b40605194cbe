"""What is fused to a linear layer's product, as one value."""

from dataclasses import dataclass

from torch import Tensor

from handful.model.ops.norm import Normalise
from handful.model.spec import Activation


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Around the product with a weight `[out, in]`; nothing by default.

    bias        `[out]`, added to the product
    activation  of what came of it
    gated       the weight is gate above up, `[2 out, in]`: the activation is the gate's; ValueError without one
    norm        of the input, first
    """

    bias: Tensor | None = None
    activation: Activation | None = None
    gated: bool = False
    norm: Normalise | None = None

    def __post_init__(self) -> None:
        if self.gated and self.activation is None:
            raise ValueError("a gate needs an activation")


NOTHING = Fused()
