"""Attention over a KV cache in which many requests share segments: stacked reads, merged exactly.

Queries attend to runs of keys. A run that several requests share is read once for all of their queries, stacked; what
is a request's own is read apart, under its mask. The parts are merged by their log-sum-exp, which is exact and
associative (Hydragen, arXiv 2402.05099; flash-decoding): with outputs O1, O2 and log-sum-exps l1, l2

    m = max(l1, l2);  O = (exp(l1-m) O1 + exp(l2-m) O2) / (exp(l1-m) + exp(l2-m));  l = m + log(exp(l1-m) + exp(l2-m))

`attend` exists twice: in plain torch (the oracle, any device), and on the processor's flash kernel. Where the native
kernel can be had (`native/attention.py`), it does a layer's whole attention instead, and nothing here runs. On a GPU
`varlen.py` computes the parts, and `merge` puts them together.
"""

import torch
from torch import Tensor

MASKED = float("-inf")


def attend_plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """Softmax attention with its log-sum-exp, in float32.

    q `[B, H, Q, D]`, k and v `[B, H, T, D]`, mask additive `[B, 1, Q, T]` or None. Returns output `[B, H, Q, D]` and
    log-sum-exp `[B, H, Q]`, both float32. The mask must leave every query at least one key.
    """
    scores = torch.matmul(q.float(), k.float().transpose(-1, -2)) * scale
    if mask is not None:
        scores = scores + mask
    lse = scores.logsumexp(dim=-1)
    return torch.matmul((scores - lse.unsqueeze(-1)).exp(), v.float()), lse


def attend_flash_cpu(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """The same on torch's flash kernel for processors: products in q's type, sums in float32."""
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=mask, scale=scale)
    return out.float(), lse


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """`attend_plain`, or `attend_flash_cpu` where the tensors lie in the processor's memory."""
    if q.device.type == "cpu":
        return attend_flash_cpu(q, k, v, mask, scale)
    return attend_plain(q, k, v, mask, scale)


def merge(out1: Tensor, lse1: Tensor, out2: Tensor, lse2: Tensor) -> tuple[Tensor, Tensor]:
    """Two parts of one attention: outputs `[..., D]`, log-sum-exps `[...]`, all float32."""
    top = torch.maximum(lse1, lse2)
    w1, w2 = (lse1 - top).exp(), (lse2 - top).exp()
    total = w1 + w2
    out = (out1 * w1.unsqueeze(-1) + out2 * w2.unsqueeze(-1)) / total.unsqueeze(-1)
    return out, top + total.log()
