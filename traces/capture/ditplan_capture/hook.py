"""Executes a plan's compressor assignment on a real model: N ranks played in one process.

    with ditplan_capture.execute(pipe, "assignment.json") as ranks:
        image = pipe("a prompt").images[0]          # what the N ranks would have drawn

```text
self-attention ─▶ Tap ─▶ shards of k, v ─▶ Channel (residual, feedback, compressor of layer and phase) ─▶ what each
rank sees ─▶ the model's own attention function, once with all ranks as samples ─▶ joined output
```

The file is what `ditplan plan --emit assignment` writes:

    {"model": "...", "ranks": 4, "strategy": "ring", "warmup": 1, "phases": [0, 10, 19],
     "layers": [{"layer": 0, "compressors": ["1bit", "2bit", "2bit"]}, ...]}

`phases` are the steps at which phases begin; a layer has one compressor a phase, or {"k": .., "v": ..}; a layer that is
not listed is sent raw. Strategies: ring (a rank's own shard is exact), gather (its own is lossy too), stale (as ring).
Keys and values are rounded to float16 first, as on the wire, unless the model computes in bfloat16; compare with a run
under raw compressors. Text that the ranks do not divide is whole on every rank; rank 0's output of it is kept.
Not modelled: time, and attention with a mask (refused).
"""

from __future__ import annotations

import bisect
import contextlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Iterator, Optional

import torch
from torch import Tensor, nn

from .calls import StepWatch, bound_arguments, find_transformer
from .codecs import codec
from .processors import Attention, Tap, attentions, family_of, refuse_compiled, text_tokens
from .ranks import Shards
from .residual import Channel, Rules, check_finite

STRATEGIES = ("ring", "gather", "stale")
KEYS = {"model", "ranks", "strategy", "warmup", "phases", "layers"}
RULES = {"order", "feedback", "base"}

cached_codec = lru_cache(maxsize=None)(codec)


@dataclass(frozen=True)
class Plan:
    """An assignment file, checked: `names[layer][tensor][phase]` of layers that are not raw throughout."""

    ranks: int
    strategy: str
    rules: Rules
    phases: tuple[int, ...]
    names: dict[int, dict[str, tuple[str, ...]]]

    def name(self, layer: int, tensor: str, step: int) -> str:
        """The compressor of `layer`'s keys or values at a step."""
        if step < self.rules.warmup or layer not in self.names:
            return "raw"
        return self.names[layer][tensor][bisect.bisect_right(self.phases, step) - 1]


def read_plan(source: str | Path | dict, layers: int) -> Plan:
    """The plan in a file (or a dictionary) for a model of `layers` layers; refuses what it does not know."""
    data = source if isinstance(source, dict) else json.loads(Path(source).read_text())
    unknown, missing = set(data) - KEYS - RULES, KEYS - {"model", "warmup"} - set(data)
    if unknown or missing:
        raise ValueError(f"assignment: unknown keys {sorted(unknown)}, missing keys {sorted(missing)}")
    if data["strategy"] not in STRATEGIES:
        raise ValueError(f"strategy `{data['strategy']}`: known are {', '.join(STRATEGIES)}")
    phases = tuple(int(start) for start in data["phases"])
    if phases[:1] != (0,) or list(phases) != sorted(set(phases)):
        raise ValueError(f"phases {list(phases)}: the steps at which phases begin, ascending, the first 0")
    names: dict[int, dict[str, tuple[str, ...]]] = {}
    for entry in data["layers"]:
        layer = int(entry["layer"])
        if not 0 <= layer < layers or layer in names:
            raise ValueError(f"layer {layer} of the assignment: the model has layers 0 to {layers - 1}, each once")
        names[layer] = _names(layer, entry["compressors"], len(phases))
    rules = Rules(warmup=int(data.get("warmup", 1)), **{key: data[key] for key in RULES & set(data)})
    return Plan(int(data["ranks"]), data["strategy"], rules, phases, names)


def _names(layer: int, compressors: list, phases: int) -> dict[str, tuple[str, ...]]:
    if len(compressors) != phases:
        raise ValueError(f"layer {layer}: {len(compressors)} compressors for {phases} phases")
    split = [entry if isinstance(entry, dict) else {"k": entry, "v": entry} for entry in compressors]
    for name in {name for entry in split for name in entry.values()} - {"raw", "stale"}:
        cached_codec(name)
    return {tensor: tuple(entry[tensor] for entry in split) for tensor in "kv"}


class Ranks:
    """N ranks under a plan; counts steps, and the bytes that the ranks' messages hold."""

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        self.model, self.plan = model, plan
        #: The sampler step under way.
        self.step = 0
        #: Bytes of all messages so far, each counted once (a message goes to ranks - 1 receivers).
        self.message_bytes = 0
        self._call = 0
        self._text = 0
        self._channels: dict[tuple[int, int, str], Channel] = {}
        self._previous: dict[tuple[int, int, str], Tensor] = {}
        self._image_first = getattr(family_of(model), "token_order", "text-first") == "image-first"

    def end_step(self) -> None:
        """The sampler's step is over."""
        self.step, self._call = self.step + 1, 0

    def before_model(self, watch: StepWatch, model: nn.Module, args: tuple, kwargs: dict) -> None:
        """The model is about to run."""
        arguments = bound_arguments(model.forward, args, kwargs)
        watch.model_called(arguments)
        self._text = text_tokens(model, arguments)

    def after_model(self) -> None:
        """A call of the model is over; the next in this step is another branch of guidance, with bases of its own."""
        self._call += 1

    @torch.no_grad()
    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, attention: Attention) -> Optional[Tensor]:
        """This layer's output over all ranks, [samples, tokens, heads, head_dim]."""
        if attention.mask is not None:
            raise ValueError(f"layer {layer}: attention has a mask, which shards would need in another order")
        shards = Shards(self.plan.ranks, self._text, q.shape[1] - self._text)
        q, k, v = (self._text_first(x) for x in (q, k, v))
        wire = torch.bfloat16 if k.dtype == torch.bfloat16 else torch.float16
        keys = self._seen(shards, layer, "k", k.to(wire).float()).to(q.dtype)
        values = self._seen(shards, layer, "v", v.to(wire).float()).to(q.dtype)
        queries = shards.queries(q)
        out = attention(queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1))
        return self._back(shards.join(out.unflatten(0, queries.shape[:2])))

    def _text_first(self, x: Tensor) -> Tensor:
        return x.roll(self._text, 1) if self._image_first else x

    def _back(self, x: Tensor) -> Tensor:
        return x.roll(-self._text, 1) if self._image_first else x

    def _seen(self, shards: Shards, layer: int, tensor: str, x: Tensor) -> Tensor:
        """Keys or values x [samples, tokens, heads, head_dim] as each rank sees them, [samples, ranks, tokens, ...]."""
        exact = shards.split(x)
        received = self._received(layer, tensor, exact.flatten(3)).view_as(exact)
        return shards.views(x, exact, received, own_exact=self.plan.strategy != "gather")

    def _received(self, layer: int, tensor: str, x: Tensor) -> Tensor:
        """Shards x [samples, ranks, rows, channels] as the others have them after this step's messages."""
        check_finite(x, self.step, layer, tensor)
        key, name = (self._call, layer, tensor), self.plan.name(layer, tensor, self.step)
        rows, channels = x.shape[-2:]
        size = 2 * rows * channels if name in ("raw", "stale") else cached_codec(name).message_bytes(rows, channels)
        self.message_bytes += size * x.shape[0] * x.shape[1]
        if layer not in self.plan.names:
            return x
        if "stale" in self.plan.names[layer][tensor]:
            previous, self._previous[key] = self._previous.get(key), x.clone()
            if name == "stale":
                if previous is None:
                    raise ValueError("stale needs a raw first step: warmup is 0")
                return previous
        channel = self._channels.setdefault(key, Channel(self.plan.rules))
        return channel.send(x, None if name == "raw" else cached_codec(name))


@contextlib.contextmanager
def execute(target: object, assignment: str | Path | dict, *, scheduler: Optional[object] = None) -> Iterator[Ranks]:
    """While entered, `target` (a pipeline or a transformer) computes what ranks under `assignment` would compute."""
    model, found = find_transformer(target)
    refuse_compiled(model)
    layers = attentions(model)
    ranks = Ranks(model, read_plan(assignment, len(layers)))
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(StepWatch(scheduler if scheduler is not None else found, ranks.end_step))
        stack.enter_context(Tap(layers, ranks.attend))
        before = model.register_forward_pre_hook(
            lambda module, args, kwargs: ranks.before_model(watch, module, args, kwargs), with_kwargs=True
        )
        after = model.register_forward_hook(lambda *_: ranks.after_model())
        stack.callback(before.remove)
        stack.callback(after.remove)
        yield ranks
