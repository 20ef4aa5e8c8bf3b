"""What kind of work a kernel or an operator is, by its name.

Rules are tried in order: a flash-attention kernel built from CUTLASS is attention, a quantised product is a product.
"""

from __future__ import annotations

import re

#: (class of the timeline, names), first match wins. From the names of PyTorch 2.x, cuBLAS, cuDNN, FlashAttention, NCCL.
RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("communication", r"nccl|all_?reduce|all_?gather|all_?to_?all|reduce_?scatter|send_?recv|c10d::"),
        ("attention", r"flash|fmha|attention|sdpa|\bmha_"),
        ("linear", r"gemm|gemv|matmul|cutlass|cublas|xmma|nvjet|wgmma|splitk|conv|aten::(linear|addmm|mm|bmm|baddbmm|einsum)$"),
        ("decode", r"dequant|decompress|decode"),
        ("encode", r"quant|compress|encode"),
        (
            "elementwise",
            r"elementwise|vectorized|norm|reduce|softmax|gelu|silu|sigmoid|rope|rotary|triton_(poi|red|per)|memcpy|memset"
            r"|aten::(add|sub|mul|div|rsqrt|pow|mean|sum|cat|stack|copy|to|_to_copy|contiguous|clone|fill|index|neg|exp|cos"
            r"|sin|where|clamp|split|repeat|empty_like|type_as|float|half)",
        ),
    )
)
#: Operators that move no data; left out of CPU timelines.
VIEWS = re.compile(
    r"aten::(view|_unsafe_view|t|transpose|permute|as_strided|expand|expand_as|reshape|flatten|unflatten|unsqueeze|squeeze"
    r"|slice|select|narrow|chunk|split|split_with_sizes|unbind|detach|alias|empty|empty_strided|resolve_conj|resolve_neg"
    r"|item|_local_scalar_dense|is_nonzero|lift_fresh|result_type|numpy_T)_?$"
)


def classify(name: str) -> str:
    """The timeline's class of a kernel or operator; "other" if no rule knows it."""
    return next((kind for kind, pattern in RULES if pattern.search(name)), "other")
