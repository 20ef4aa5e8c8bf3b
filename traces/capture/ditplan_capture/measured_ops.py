"""Kernels of one operation: matrix products, attention, memory-bound operations; inputs are random.

Attention is measured by backend, since PyTorch's choice among them changes with its version: `torch_sdpa_cudnn`,
`torch_sdpa_flash`; on a processor `torch_sdpa_cpu`. Products have no bias.
"""

from __future__ import annotations

from typing import Callable, Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .stopwatch import Stopwatch, Timing

BACKENDS = {"torch_sdpa_cudnn": SDPBackend.CUDNN_ATTENTION, "torch_sdpa_flash": SDPBackend.FLASH_ATTENTION}
#: Operation -> elements read and written per element of [rows, columns].
MEMORY_OPS = {
    "copy": 2, "residual": 3, "layernorm": 2, "adaln": 2, "gelu": 2, "rope": 2, "rmsnorm": 2, "softmax": 2, "add": 3,
}
#: Columns of a head, for operations that work by head.
HEAD = 128


def element_bytes(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()


def gemm(stopwatch: Stopwatch, dtype: torch.dtype, m: int, n: int, k: int) -> Timing:
    """x [m, k] times the transpose of w [n, k]."""
    sets = stopwatch.buffers(element_bytes(dtype) * (m * k + n * k + m * n))
    x = [torch.randn(m, k, device=stopwatch.device, dtype=dtype) for _ in range(sets)]
    w = [torch.randn(n, k, device=stopwatch.device, dtype=dtype) for _ in range(sets)]
    return stopwatch.time(lambda i: F.linear(x[i % sets], w[i % sets]))


def attention_kernels(device: torch.device) -> list[str]:
    """The attention kernels measured on a device."""
    return list(BACKENDS) if device.type == "cuda" else ["torch_sdpa_cpu"]


def attention(
    stopwatch: Stopwatch, kernel: str, dtype: torch.dtype, batch: int, heads: int, queries: int, keys: int, head_dim: int
) -> Timing:
    """Non-causal attention; q, k, v as a projection leaves them: [batch, tokens, heads, head_dim], seen transposed."""
    def draw(tokens: int) -> Tensor:
        return torch.randn(batch, tokens, heads, head_dim, device=stopwatch.device, dtype=dtype).transpose(1, 2)

    sets = stopwatch.buffers(element_bytes(dtype) * 2 * batch * heads * head_dim * (queries + keys))
    q = [draw(queries) for _ in range(sets)]
    k, v = [draw(keys) for _ in range(sets)], [draw(keys) for _ in range(sets)]

    def call(i: int) -> Tensor:
        i %= sets
        return F.scaled_dot_product_attention(q[i], k[i], v[i])

    if kernel not in BACKENDS:
        return stopwatch.time(call)
    with sdpa_kernel(BACKENDS[kernel]):
        return stopwatch.time(call)


def memory_call(op: str, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """`op` on x and y [rows, columns], as eager PyTorch code writes it."""
    columns = x.shape[1]
    row = torch.randn(columns, device=x.device, dtype=x.dtype)
    calls = {
        "copy": lambda: y.copy_(x),
        "add": lambda: x + y,
        "residual": lambda: x + row * y,
        "layernorm": lambda: F.layer_norm(x, (columns,)),
        "adaln": lambda: F.layer_norm(x, (columns,)) * (1 + row) + row,
        "gelu": lambda: F.gelu(x, approximate="tanh"),
        "softmax": lambda: torch.softmax(x, -1),
        "rmsnorm": lambda: F.rms_norm(x.unflatten(1, (-1, min(HEAD, columns))), (min(HEAD, columns),)),
        "rope": lambda: rotate_pairs(x, row),
    }
    return calls[op]


def rotate_pairs(x: Tensor, angle: Tensor) -> Tensor:
    """Rotary embedding in eager code: x cos + (-x2, x1) sin, in float32."""
    even, odd = x.float().unflatten(1, (-1, 2)).unbind(-1)
    turned = torch.stack([-odd, even], -1).flatten(1)
    return (x.float() * angle.float() + turned * angle.float()).to(x.dtype)


def memory(stopwatch: Stopwatch, op: str, dtype: torch.dtype, rows: int, columns: int) -> tuple[int, Timing]:
    """(bytes at least read and written, time) of a memory-bound operation on [rows, columns]."""
    size = element_bytes(dtype) * rows * columns
    sets = stopwatch.buffers(2 * size)
    calls = []
    for _ in range(sets):
        x = torch.randn(rows, columns, device=stopwatch.device, dtype=dtype)
        calls.append(memory_call(op, x, torch.randn_like(x)))
    return MEMORY_OPS[op] * size, stopwatch.time(lambda i: calls[i % sets]())


def chain(device: torch.device, mode: str, kernels: int) -> Optional[Callable[[], object]]:
    """Calls `kernels` tiny products one after another: eager, as a CUDA graph, or compiled; None where not possible."""
    x = torch.randn(16, 16, device=device) * 0.05
    w = torch.randn(16, 16, device=device) * 0.05

    def eager() -> Tensor:
        y = x
        for _ in range(kernels):
            y = torch.mm(y, w)
        return y

    if mode == "eager":
        return eager
    if device.type != "cuda":
        return None
    if mode == "compiled":
        return torch.compile(eager)
    warm = torch.cuda.Stream()
    warm.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm):
        eager()
    torch.cuda.current_stream().wait_stream(warm)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        eager()
    return graph.replay
