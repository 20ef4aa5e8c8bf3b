"""Attention as N ranks would compute it: each sees some keys and values only as they were reconstructed.

    ring     a rank attends to its own exact shard and to the others' reconstructions
    gather   a rank attends to all shards as reconstructed, its own too

A shard is 1/N of the condition tokens followed by 1/N of the image tokens; condition tokens that N does not
divide are whole on every rank and are not sent. Keys and values are float16 on the wire, as in a float16 run.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .assignment import Assignment, phase_of
from .codecs import Codec, codec
from .dit import plain_attention
from .residual import Channel, Rules, check_finite

cached_codec = lru_cache(maxsize=None)(codec)


def half_attention(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Plain attention to float16 keys and values: the uncompressed run."""
    return plain_attention(layer, q, k.half().float(), v.half().float())


class Shards:
    """Splits [samples, tokens, ...] into [samples, ranks, rows, ...] and back."""

    def __init__(self, ranks: int, text_tokens: int, image_tokens: int) -> None:
        if image_tokens % ranks:
            raise ValueError(f"{image_tokens} image tokens cannot be split over {ranks} ranks")
        self.ranks, self.text, self.image = ranks, text_tokens, image_tokens
        self.text_sent = text_tokens % ranks == 0

    def split(self, x: Tensor) -> Tensor:
        """[samples, ranks, rows, ...]; rows are the tokens that a rank owns and sends."""
        image = x[:, self.text :].unflatten(1, (self.ranks, -1))
        if not self.text_sent:
            return image
        return torch.cat([x[:, : self.text].unflatten(1, (self.ranks, -1)), image], dim=2)

    def queries(self, x: Tensor) -> Tensor:
        """As `split`, with the whole condition on every rank where it is not sent."""
        parts = self.split(x)
        return parts if self.text_sent else torch.cat([self._shared(x), parts], dim=2)

    def join(self, parts: Tensor) -> Tensor:
        """The inverse of `queries`: [samples, tokens, ...]; rank 0's where all ranks hold the condition."""
        text = self.text // self.ranks if self.text_sent else self.text
        head, tail = parts[:, :, :text], parts[:, :, text:].flatten(1, 2)
        return torch.cat([head.flatten(1, 2) if self.text_sent else head[:, 0], tail], dim=1)

    def views(self, x: Tensor, exact: Tensor, received: Tensor, own_exact: bool) -> Tensor:
        """What each rank attends to, [samples, ranks, tokens, ...]; shards are [samples, ranks, rows, ...]."""
        seen = received[:, None].expand(-1, self.ranks, *received.shape[1:])
        if own_exact:
            seen = seen.clone()
            own = torch.arange(self.ranks)
            seen[:, own, own] = exact
        seen = seen.flatten(2, 3)
        return seen if self.text_sent else torch.cat([self._shared(x), seen], dim=2)

    def _shared(self, x: Tensor) -> Tensor:
        text = x[:, : self.text]
        return text[:, None].expand(-1, self.ranks, *text.shape[1:])


class VirtualRanks:
    """An `attend` of the model that plays N ranks under an assignment; set `step` before each forward pass."""

    def __init__(self, shards: Shards, assignment: Assignment, steps: int, rules: Rules = Rules(), strategy: str = "ring", skip_idle: bool = True) -> None:
        if strategy not in ("ring", "gather"):
            raise ValueError(f"strategy `{strategy}`: known are ring and gather")
        self.shards, self.assignment, self.steps, self.rules = shards, assignment, steps, rules
        self.own_exact, self.skip_idle = strategy == "ring", skip_idle
        self.step = 0
        self._channels: dict[tuple[int, str], Channel] = {}
        self._previous: dict[tuple[int, str], Tensor] = {}

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Output [samples, tokens, heads, head_dim] of this layer's attention over all ranks."""
        if self.skip_idle and self.assignment.idle(layer):
            return half_attention(layer, q, k, v)
        k, v = k.half().float(), v.half().float()
        keys, values = self._seen(layer, "k", k), self._seen(layer, "v", v)
        if keys is None or values is None:
            return plain_attention(layer, q, k, v)
        parts = [x.flatten(0, 1).transpose(1, 2) for x in (self.shards.queries(q), keys, values)]
        out = F.scaled_dot_product_attention(*parts).transpose(1, 2)
        return self.shards.join(out.unflatten(0, (-1, self.shards.ranks)))

    def _seen(self, layer: int, tensor: str, x: Tensor) -> Optional[Tensor]:
        """This layer's keys or values as each rank sees them; None in the raw warm-up steps."""
        exact = self.shards.split(x)
        warming = self.step < self.rules.warmup
        name = "raw" if warming else self.assignment.name(tensor, layer, phase_of(self.step, self.steps))
        received = self._received(layer, tensor, exact.flatten(3), name).view_as(exact)
        return None if warming and self.skip_idle else self.shards.views(x, exact, received, self.own_exact)

    def _received(self, layer: int, tensor: str, x: Tensor, name: str) -> Tensor:
        """Shards x [samples, ranks, rows, channels] as the other ranks have them."""
        check_finite(x, self.step, layer, tensor)
        key = (layer, tensor)
        if "stale" in (self.assignment.k if tensor == "k" else self.assignment.v)[layer]:
            previous, self._previous[key] = self._previous.get(key), x.clone()
            if name == "stale":
                assert previous is not None, "warm-up leaves a previous step"
                return previous
        channel = self._channels.setdefault(key, Channel(self.rules))
        chosen: Optional[Codec] = None if name == "raw" else cached_codec(name)
        return channel.send(x, chosen)
