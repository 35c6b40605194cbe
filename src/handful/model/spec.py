"""What a decoder is, in a few independent choices. Every native family is one value of `ModelSpec`.

A spec is complete: together with the tensors it determines every logit. It knows nothing of checkpoints or config keys
(`families.py` reads those) and nothing of requests or caches.
"""

from dataclasses import dataclass
from typing import Literal

import torch

Activation = Literal["gelu", "gelu_tanh", "relu", "silu"]
Norm = Literal["layer", "rms"]
# sequential: x += attention(norm(x)); x += mlp(norm(x)).  parallel: x += attention(norm1(x)) + mlp(norm2(x)), both from
# the same x.  parallel_shared: as parallel, with one norm for both (GPT-J).
Residual = Literal["sequential", "parallel", "parallel_shared"]


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """Positions are divided by `factor`."""

    factor: float


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Llama 3.1's rule: long wavelengths are stretched by `factor`, short ones kept, those between interpolated."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context_length: int


@dataclass(frozen=True, slots=True)
class YarnScaling:
    """YaRN (arXiv 2309.00071): a ramp over the dimensions between kept and stretched; cos and sin are multiplied."""

    factor: float
    original_context_length: int
    beta_fast: float
    beta_slow: float
    attention_factor: float
    truncate: bool


RotaryScaling = LinearScaling | Llama3Scaling | YarnScaling


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotary positions (arXiv 2104.09864) over the first `dims` dimensions of each head.

    Pairs are (i, i + dims/2), or (2i, 2i + 1) where `interleaved`.
    """

    theta: float
    dims: int
    interleaved: bool = False
    scaling: RotaryScaling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One decoder-only transformer.

    context_length      no position at or past it is ever computed; a hard limit where positions are learned
    embedding_size      width of the token embedding; differs from `hidden_size` only in OPT-350m, which projects
    learned_positions   offset into the table of learned positions (OPT's is 2), or None
    windows             for each layer None, or w: a query at position i sees keys j with i - w < j <= i
    attention_scale     scores are scale * q.k; GPT-Neo's is 1, so its scores need float32
    norm_affine         whether the norms have weights (and biases, for layer norms)
    norm_first          the norm stands before attention and MLP (usual), or behind the residual sum (OPT-350m)
    qk_norm             each head's q and k pass an RMS norm before the rotation (Qwen 3)
    """

    architecture: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    context_length: int
    embedding_size: int
    windows: tuple[int | None, ...]
    attention_scale: float
    activation: Activation
    norm: Norm
    norm_eps: float
    norm_affine: bool = True
    norm_first: bool = True
    final_norm: bool = True
    residual: Residual = "sequential"
    learned_positions: int | None = None
    rotary: Rotary | None = None
    gated_mlp: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    attention_out_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    tied_head: bool = False

    @property
    def qkv_sizes(self) -> tuple[int, int, int]:
        """Rows of the fused q, k, v product that belong to each."""
        return (
            self.num_heads * self.head_dim,
            self.num_kv_heads * self.head_dim,
            self.num_kv_heads * self.head_dim,
        )

    def kv_bytes_per_token(self, dtype: torch.dtype) -> int:
        """Bytes of keys and values that one token keeps in the cache, over all layers."""
        return self.num_layers * 2 * self.num_kv_heads * self.head_dim * dtype.itemsize
