"""Takes keys and values exactly as attention sees them: after qk-norm and RoPE, text joined.

Every processor of diffusers ends in one of two functions: `dispatch_attention_fn` (FLUX, Wan) or
`torch.nn.functional.scaled_dot_product_attention` (SD3, PixArt, CogVideoX). While a `Tap` is in place both are
wrapped wherever a loaded module holds them; hooks on the chosen attention modules say which layer is running. Nothing
in a processor is rewritten, so custom processors work as long as they end in one of the two.

Not taken: cross-attention (text is whole on every rank), SD3.5's second, image-only attention, image adapters.
Compiled models bypass the wrappers and are refused.
"""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass
from typing import Callable, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: attention(q, k, v) -> output, all [samples, tokens, heads, head_dim]; its attribute `mask` is the call's mask or None.
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
#: handler(layer, q, k, v, attention) -> output in its place, or None to leave attention as it is.
Handler = Callable[[int, Tensor, Tensor, Tensor, Attention], Optional[Tensor]]


@dataclass(frozen=True)
class Family:
    """A model class: where its text tokens stand in the joint sequence, and which modules are its layers."""

    name: str
    token_order: str
    layers: tuple[str, ...]


#: By the class name of the transformer.
FAMILIES = {
    "FluxTransformer2DModel": Family(
        "flux", "text-first", (r"transformer_blocks\.\d+\.attn", r"single_transformer_blocks\.\d+\.attn")
    ),
    "SD3Transformer2DModel": Family("sd3", "image-first", (r"transformer_blocks\.\d+\.attn",)),
    "PixArtTransformer2DModel": Family("pixart", "image-only", (r"transformer_blocks\.\d+\.attn1",)),
    "CogVideoXTransformer3DModel": Family("cogvideox", "text-first", (r"transformer_blocks\.\d+\.attn1",)),
    "WanTransformer3DModel": Family("wan", "image-only", (r"blocks\.\d+\.attn1",)),
    "DigitsDiT": Family("dit-digits", "text-first", (r"blocks\.\d+",)),
}
#: Children by which an unknown model's attention modules are known.
PROJECTIONS = ("to_k", "to_kv", "to_qkv", "qkv", "k_proj", "qkv_proj")


def family_of(model: nn.Module) -> Optional[Family]:
    """The known family of `model`, if it is one."""
    return next((FAMILIES[cls.__name__] for cls in type(model).__mro__ if cls.__name__ in FAMILIES), None)


def attentions(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The self-attention modules of `model` by name, in the order of its layers."""
    family = family_of(model)
    if family is not None:
        pattern = re.compile("|".join(f"(?:{layer})" for layer in family.layers))
        return [(name, module) for name, module in model.named_modules() if pattern.fullmatch(name)]
    found = [(name, module) for name, module in model.named_modules() if _is_self_attention(module)]
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no attention that is known here (children {', '.join(PROJECTIONS)}); "
            'name its projections: record(..., modules={"blocks.0.key": "k", ...})'
        )
    return found


def _is_self_attention(module: nn.Module) -> bool:
    projects = isinstance(module, nn.MultiheadAttention) or any(hasattr(module, name) for name in PROJECTIONS)
    return projects and not getattr(module, "is_cross_attention", False)


def refuse_compiled(model: nn.Module) -> None:
    """Raises if torch.compile has been applied to `model` or a part of it."""
    for name, module in model.named_modules():
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise ValueError(f"{name or 'the model'} is compiled, which hides its attention; record before torch.compile")


class Tap:
    """While entered, `handler` is called at each self-attention of the modules given, in place of or before it."""

    def __init__(self, layers: Sequence[tuple[str, nn.Module]], handler: Handler) -> None:
        self._layers = list(layers)
        self._handler = handler
        self._running: list[int] = []
        self._seen = False
        self._inside = False
        self._hooks: list = []
        self._patched: list[tuple[dict, str, Callable]] = []

    def __enter__(self) -> "Tap":
        for layer, (name, module) in enumerate(self._layers):
            self._hooks.append(module.register_forward_pre_hook(functools.partial(self._enter, layer)))
            self._hooks.append(module.register_forward_hook(functools.partial(self._leave, name), always_call=True))
        self._patch("scaled_dot_product_attention", F.scaled_dot_product_attention, 1)
        dispatch = sys.modules.get("diffusers.models.attention_dispatch")
        if dispatch is not None and hasattr(dispatch, "dispatch_attention_fn"):
            self._patch("dispatch_attention_fn", dispatch.dispatch_attention_fn, 0)
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        for namespace, name, original in self._patched:
            namespace[name] = original
        self._hooks, self._patched, self._running = [], [], []

    def _enter(self, layer: int, *_: object) -> None:
        self._running.append(layer)
        self._seen = False

    def _leave(self, name: str, module: nn.Module, _inputs: object, output: object) -> None:
        if self._running:
            self._running.pop()
        if not self._seen and output is not None:
            processor = getattr(module, "processor", module)
            raise RuntimeError(
                f"{name} ran without a self-attention that can be seen ({type(processor).__name__} computes it by "
                f'itself); give the model its default processor, or record(..., modules={{"{name}.to_k": "k", ...}})'
            )

    def _patch(self, name: str, original: Callable, heads_at: int) -> None:
        wrapper = self._wrapper(original, heads_at)
        for module_name, module in list(sys.modules.items()):
            namespace = getattr(module, "__dict__", {})
            if namespace.get(name) is original and not module_name.startswith("torch._C"):
                self._patched.append((namespace, name, original))
                namespace[name] = wrapper

    def _wrapper(self, original: Callable, heads_at: int) -> Callable:
        """`heads_at` 0: tensors are [samples, tokens, heads, head_dim]; 1: heads and tokens are exchanged."""

        def view(x: Tensor) -> Tensor:
            return x.transpose(1, 2) if heads_at else x

        @functools.wraps(original)
        def attention(query: Tensor, key: Tensor, value: Tensor, *args: object, **kwargs: object) -> Tensor:
            if not self._running or self._inside or query.ndim != 4 or view(query).shape[1] != view(key).shape[1]:
                return original(query, key, value, *args, **kwargs)

            def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                return view(original(view(q), view(k), view(v), *args, **kwargs))

            run.mask = kwargs.get("attn_mask", args[0] if args else None)
            self._inside = self._seen = True
            try:
                out = self._handler(self._running[-1], view(query), view(key), view(value), run)
                return original(query, key, value, *args, **kwargs) if out is None else view(out)
            finally:
                self._inside = False

        return attention


def text_tokens(model: nn.Module, arguments: dict) -> int:
    """Text tokens in the joint sequence of a call of `model` with `arguments` (by name)."""
    family = family_of(model)
    if family is None or family.token_order == "image-only":
        return 0
    text = arguments.get("encoder_hidden_states")
    if isinstance(text, torch.Tensor):
        return int(text.shape[1])
    return int(getattr(getattr(model, "config", None), "text_tokens", 0))
