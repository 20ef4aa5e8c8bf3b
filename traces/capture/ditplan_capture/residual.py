"""The residual protocol: what sender and receivers keep between steps, and what a receiver attends to.

    R = x - prediction,  message = C(R),  reconstruction = prediction + dec(message),  base' = Q(reconstruction)

The prediction is nothing (order 0), the base (order 1) or the base plus its decayed last change (order 2).
With feedback the sender follows the receivers' base, so that the next residual carries the error; without
it the sender's base is the truth and the two drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor

from .codecs import Codec, Integer, reconstruct


class NonFiniteActivation(ValueError):
    """An activation that no compressor accepts: NaN or infinite."""


@dataclass(frozen=True)
class Rules:
    """How residuals are formed: order 0, 1 or 2, error feedback, raw first steps, how the base is stored."""

    order: int = 1
    feedback: bool = True
    warmup: int = 1
    base: str = "fp16"
    decay: float = 0.5

    def __post_init__(self) -> None:
        if self.order not in (0, 1, 2):
            raise ValueError(f"order {self.order}: residuals are of order 0, 1 or 2")
        if self.base not in ("fp16", "bf16", "int8", "int4"):
            raise ValueError(f"base `{self.base}`: a base is stored as fp16, bf16, int8 or int4")
        if self.warmup < 1 and self.order > 0:
            raise ValueError("warmup 0: a residual needs one raw step at least, which becomes its base")

    def store(self, x: Tensor) -> Tensor:
        """x as it comes back from memory, float32."""
        if self.base in ("int8", "int4"):
            return reconstruct(Integer(8 if self.base == "int8" else 4), x)
        return x.to(torch.float16 if self.base == "fp16" else torch.bfloat16).float()


def check_finite(x: Tensor, step: int, layer: int, tensor: str) -> None:
    """Refuses NaN and infinity; names where the first one is."""
    if not torch.isfinite(x).all():
        index = int((~torch.isfinite(x.flatten())).nonzero()[0])
        raise NonFiniteActivation(f"step {step}, layer {layer}, tensor {tensor}: element {index} is not finite")


class Channel:
    """Both ends of one layer's K or V, for all samples and owners at once: x [..., rows, channels]."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.sender: Optional[Tensor] = None
        self.receiver: Optional[Tensor] = None
        self.sender_delta: Tensor | float = 0.0
        self.receiver_delta: Tensor | float = 0.0

    def send(self, x: Tensor, codec: Optional[Codec]) -> Tensor:
        """What receivers attend to; `codec` None sends x as it is, and makes it the base."""
        if codec is None:
            self._advance(x, x)
            return x
        if self.rules.order == 0:
            return reconstruct(codec, x).half().float()
        if self.sender is None:
            raise ValueError("a residual needs a raw step first")
        message = reconstruct(codec, x - (self.sender + self.sender_delta))
        received = self.receiver + self.receiver_delta + message
        self._advance(received if self.rules.feedback else x, received)
        return self.receiver if self.rules.base == "fp16" else received.half().float()

    def _advance(self, sender: Tensor, receiver: Tensor) -> None:
        shared = sender is receiver
        old_sender, old_receiver = self.sender, self.receiver
        self.receiver = self.rules.store(receiver)
        self.sender = self.receiver if shared else self.rules.store(sender)
        if self.rules.order == 2 and old_sender is not None:
            self.receiver_delta = self.rules.decay * (self.receiver - old_receiver)
            self.sender_delta = self.receiver_delta if shared else self.rules.decay * (self.sender - old_sender)
