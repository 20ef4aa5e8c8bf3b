"""A compressor at work between ranks: encode a residual into a message and follow it, decode a message into the base.

    encode   R = x - base,  message = C(R),  base += dec(message)          decode   base += dec(message)

With error feedback, so sender and receivers hold the same base. `TorchWire` is the existing PyTorch codecs; the CUDA
kernels of the repository stand in `cuda_codecs`. Which one ran is part of the output.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .codecs import codec as codec_named
from .message_layout import from_message, to_message


class WireCodec(Protocol):
    """Encodes and decodes matrices [rows, channels]; bases are float16 and changed in place."""

    #: What runs, for the output: "torch" or "cuda kernels".
    implementation: str

    def message_bytes(self, rows: int, channels: int) -> int: ...

    def encode(self, x: Tensor, base: Tensor) -> Tensor: ...

    def decode(self, message: Tensor, base: Tensor) -> None: ...


class TorchWire:
    """The PyTorch codec of that name, messages as byte tensors on the device of x."""

    implementation = "torch"

    def __init__(self, name: str) -> None:
        self.codec = codec_named(name)

    def message_bytes(self, rows: int, channels: int) -> int:
        return self.codec.message_bytes(rows, channels)

    def encode(self, x: Tensor, base: Tensor) -> Tensor:
        rows, channels = x.shape
        parts = self.codec.encode(x.float() - base.float())
        message = torch.empty(self.message_bytes(rows, channels), dtype=torch.uint8, device=x.device)
        to_message(self.codec, parts, message, rows, channels)
        base.copy_(base.float() + self.codec.decode(parts, rows, channels))
        return message

    def decode(self, message: Tensor, base: Tensor) -> None:
        rows, channels = base.shape
        parts = from_message(self.codec, message, rows, channels)
        base.copy_(base.float() + self.codec.decode(parts, rows, channels))
