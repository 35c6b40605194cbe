"""The activations of the native families, by name."""

import torch.nn.functional as F
from torch import Tensor

from handful.model.spec import Activation


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Apply an activation elementwise. `gelu_tanh` is the tanh approximation that GPT-2 calls gelu_new."""
    match activation:
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "relu":
            return F.relu(x)
        case "silu":
            return F.silu(x)


def gate(gate_and_up: Tensor, activation: Activation) -> Tensor:
    """A gated MLP's middle: `[N, 2m]`, gate before up, -> activation(gate) * up `[N, m]`."""
    middle = gate_and_up.shape[-1] // 2
    return activate(gate_and_up[..., :middle], activation).mul_(gate_and_up[..., middle:])
