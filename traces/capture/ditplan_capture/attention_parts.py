"""Attention with its log-sum-exp, so that parts over different keys can be merged as in a ring.

    out = sum_i exp(lse_i - lse) out_i,   lse = log sum_i exp(lse_i)       (float32)

Kernels: PyTorch's flash attention or cuDNN's on CUDA, its flash attention on the processor, plain products elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: A partial result: output [samples, heads, rows, head_dim] float32, log-sum-exp [samples, heads, rows] float32.
Part = tuple[Tensor, Tensor]
KERNELS = ("flash", "cudnn", "math")


def kernel_for(device: torch.device, dtype: torch.dtype, wanted: str = "flash") -> str:
    """The kernel that runs: CUDA's fused ones take 16-bit types only."""
    return "math" if device.type == "cuda" and dtype == torch.float32 else wanted


def with_lse(q: Tensor, k: Tensor, v: Tensor, kernel: str) -> Part:
    """Attention of q [samples, rows, heads, head_dim] to k and v, in the type of q, and its log-sum-exp."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if kernel == "math":
        scores = (q.float() @ k.float().mT) / q.shape[-1] ** 0.5
        return (scores.softmax(-1) @ v.float()).to(q.dtype), scores.logsumexp(-1)
    if q.device.type == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
    if kernel == "cudnn":
        out, lse = torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True)[:2]
    else:
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[:2]
    return out, lse.view(q.shape[:3])


def plain(q: Tensor, k: Tensor, v: Tensor, kernel: str) -> Tensor:
    """Attention output [samples, rows, heads, head_dim]."""
    return with_lse(q, k, v, kernel)[0].transpose(1, 2)


def first(part: Part) -> Part:
    """The start of a merge: the output in float32."""
    return part[0].float(), part[1]


def merge(total: Part, part: Part) -> Part:
    """`total` with one more part."""
    lse = torch.logaddexp(total[1], part[1])
    before, now = torch.exp(total[1] - lse)[..., None], torch.exp(part[1] - lse)[..., None]
    return total[0] * before + part[0].float() * now, lse


def finish(total: Part, dtype: torch.dtype) -> Tensor:
    """The merged output [samples, rows, heads, head_dim] in `dtype`."""
    return total[0].transpose(1, 2).to(dtype)
