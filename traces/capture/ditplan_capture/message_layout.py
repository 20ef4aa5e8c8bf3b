"""Messages of the PyTorch codecs as one byte tensor on the codec's own device: the same bytes as `Codec.wire`.

A layout lists a message's fields in order; codes of b bits are packed lowest bits first, the last axis padded to a byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .codecs import GROUP, Codec, Float8, Integer, OneBit, Parts, Sparse, TwoBit
from .lowrank import LowRank

HALF = 16


@dataclass(frozen=True)
class Field:
    """Part `name` of a message: `bits` of a code, or HALF for float16 numbers, in this shape."""

    name: str
    bits: int
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        count = 1
        for size in self.shape[:-1]:
            count *= size
        return count * -(-self.shape[-1] * self.bits // 8)


def layout(codec: Codec, rows: int, channels: int) -> list[Field]:
    """The fields of a message of [rows, channels]."""
    outer = [Field("u", HALF, (rows,)), Field("v", HALF, (channels,))]
    if isinstance(codec, OneBit):
        return [Field("codes", 1, (rows, channels)), *outer]
    if isinstance(codec, TwoBit):
        return [Field("codes", 2, (rows, channels)), *outer] + [Field("levels", HALF, (2,))] * codec.fitted
    if isinstance(codec, Integer):
        return [Field("codes", codec.bits, (rows, channels)), Field("scale", HALF, (rows, -(-channels // GROUP)))]
    if isinstance(codec, Float8):
        return [Field("codes", 8, (rows, channels)), Field("scale", HALF, (rows,))]
    if isinstance(codec, Sparse):
        blocks = -(-channels // codec.block)
        return [Field("values", HALF, (rows, blocks)), Field("codes", 4, (rows * blocks,))]
    assert isinstance(codec, LowRank), f"no layout of {codec.name}"
    rank = min(codec.rank, rows, channels)
    if not codec.quantised:
        return [Field("u", HALF, (rows, rank)), Field("v", HALF, (rank, channels))]
    return [Field("uv", 4, (rank * (rows + channels),)), Field("u_scale", HALF, (rank, 2)), Field("v_scale", HALF, (rank, 2))]


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes [..., n] as bytes [..., ceil(n bits / 8)]."""
    if bits == 8:
        return codes.view(torch.uint8) if codes.element_size() == 1 and codes.dtype != torch.bool else codes.to(torch.uint8)
    per_byte = 8 // bits
    codes = F.pad(codes.to(torch.uint8) & (2**bits - 1), (0, -codes.shape[-1] % per_byte)).unflatten(-1, (-1, per_byte))
    out = codes[..., 0].clone()
    for place in range(1, per_byte):
        out |= codes[..., place] << (place * bits)
    return out


def unpack(data: Tensor, bits: int, count: int) -> Tensor:
    """The first `count` codes [..., count] of bytes [..., n]."""
    if bits == 8:
        return data
    parts = [(data >> (place * bits)) & (2**bits - 1) for place in range(8 // bits)]
    return torch.stack(parts, dim=-1).flatten(-2)[..., :count]


def to_message(codec: Codec, parts: Parts, message: Tensor, rows: int, channels: int) -> None:
    """Writes one matrix's parts into `message` (uint8)."""
    if "u_scale" in parts:
        parts = parts | {"uv": torch.cat([parts["u"].flatten(), parts["v"].flatten()])}
    at = 0
    for field in layout(codec, rows, channels):
        part = parts[field.name].reshape(field.shape)
        content = part.contiguous().view(torch.uint8) if field.bits == HALF else pack(part, field.bits)
        message[at : at + field.bytes] = content.reshape(-1)
        at += field.bytes


def from_message(codec: Codec, message: Tensor, rows: int, channels: int) -> Parts:
    """The parts in a message, as `Codec.decode` takes them."""
    parts, at = {}, 0
    for field in layout(codec, rows, channels):
        data = message[at : at + field.bytes]
        at += field.bytes
        if field.bits == HALF:
            parts[field.name] = data.clone().view(torch.float16).view(field.shape)
        else:
            data = data.view(*field.shape[:-1], -1)
            parts[field.name] = unpack(data, field.bits, field.shape[-1])
    return _typed(codec, parts, rows, channels)


def _typed(codec: Codec, parts: Parts, rows: int, channels: int) -> Parts:
    """Codes in the types that the codec decodes."""
    if isinstance(codec, OneBit):
        return parts | {"codes": parts["codes"].bool()}
    if isinstance(codec, Integer):
        codes, top = parts["codes"].to(torch.int16), 2 ** (codec.bits - 1)
        return parts | {"codes": torch.where(codes >= top, codes - 2 * top, codes).to(torch.int8)}
    if isinstance(codec, Float8):
        return parts | {"codes": parts["codes"].contiguous().view(torch.float8_e4m3fn)}
    if isinstance(codec, Sparse):
        return parts | {"codes": parts["codes"].view(rows, -1).long()}
    if "uv" in parts:
        rank = parts["u_scale"].shape[0]
        u, v = parts["uv"].split([rank * rows, rank * channels])
        return parts | {"u": u.view(rank, rows), "v": v.view(rank, channels)}
    return parts
