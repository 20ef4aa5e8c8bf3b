"""Records the outputs of named modules as keys and values, for models whose attention is not known here.

    record(model, "out.trace", modules={"blocks.0.attn.to_k": "k", "blocks.0.attn.to_v": "v", ...})

What a module puts out is what is stored: before qk-norm and RoPE if it is a projection. Layers are numbered by the
order in which the parents of the named modules stand in the model.
"""

from __future__ import annotations

import functools
from typing import Callable, Mapping

from torch import Tensor, nn

#: take(layer, tensor, x [samples, tokens, heads, head_dim]).
Take = Callable[[int, str, Tensor], None]


def _parent(name: str) -> str:
    return name.rsplit(".", 1)[0] if "." in name else ""


def layer_names(model: nn.Module, modules: Mapping[str, str]) -> list[str]:
    """Parents of the named modules in the model's order; refuses names and words that do not exist."""
    known = dict(model.named_modules())
    for name, tensor in modules.items():
        if name not in known:
            near = [other for other in known if other.endswith(name.rsplit(".", 1)[-1])][:3]
            hint = f"; near: {', '.join(near)}" if near else ""
            raise ValueError(f"{type(model).__name__} has no module {name!r}{hint}")
        if tensor not in ("k", "v"):
            raise ValueError(f"modules[{name!r}] is {tensor!r}; a trace holds 'k' and 'v'")
    parents = {_parent(name) for name in modules}
    for parent in parents:
        tensors = sorted(tensor for name, tensor in modules.items() if _parent(name) == parent)
        if tensors != ["k", "v"]:
            raise ValueError(f"{parent or 'the model'} has {tensors} of modules; a layer of a trace has one 'k' and one 'v'")
    return [name for name in known if name in parents]


def heads_of(parent: nn.Module, width: int) -> int:
    """Heads that `parent` declares (`heads`, `num_heads`), or one of the whole width [channels]."""
    heads = getattr(parent, "num_kv_heads", None) or getattr(parent, "heads", None) or getattr(parent, "num_heads", 1)
    return int(heads) if isinstance(heads, int) and width % heads == 0 else 1


class ModuleTap:
    """While entered, hands the outputs [samples, tokens, channels] of the named modules to `take`."""

    def __init__(self, model: nn.Module, modules: Mapping[str, str], take: Take) -> None:
        self._model, self._modules, self._take = model, dict(modules), take
        self.layers = layer_names(model, modules)
        self._hooks: list = []

    def __enter__(self) -> "ModuleTap":
        known = dict(self._model.named_modules())
        for name, tensor in self._modules.items():
            parent = _parent(name)
            hook = functools.partial(self._on_output, self.layers.index(parent), tensor, name, known[parent])
            self._hooks.append(known[name].register_forward_hook(hook))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _on_output(self, layer: int, tensor: str, name: str, parent: nn.Module, _module, _inputs, x: object) -> None:
        if not isinstance(x, Tensor) or x.ndim not in (3, 4):
            raise ValueError(f"{name} puts out {type(x).__name__}, not a tensor [samples, tokens, channels]")
        if x.ndim == 3:
            x = x.unflatten(-1, (heads_of(parent, x.shape[-1]), -1))
        self._take(layer, tensor, x)
