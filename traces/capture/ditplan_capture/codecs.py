"""The compressors of ditplan in PyTorch, with the arithmetic and the wire bytes of its Rust kernels.

A message is one matrix R [rows, channels] (a rank's tokens of one sample; rows = tokens). All functions
work on any leading batch dimensions, each matrix on its own. Arithmetic is float32; scales travel as
float16 and saturate at 65504; codes first, then scales, little endian, no header.
"""

from __future__ import annotations

import re
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

HALF_MAX = 65504.0
GROUP = 64
HISTOGRAM_BINS = 1024
HISTOGRAM_TOP = 8.0
LLOYD_ROUNDS = 8

Parts = dict[str, Tensor]


class Codec(Protocol):
    """One compressor: parts are integer codes and float16 scales, `wire` lays them out."""

    name: str
    family: str

    def encode(self, r: Tensor) -> Parts: ...

    def decode(self, parts: Parts, rows: int, channels: int) -> Tensor: ...

    def wire(self, parts: Parts) -> bytes: ...

    def message_bytes(self, rows: int, channels: int) -> int: ...


def reconstruct(codec: Codec, r: Tensor) -> Tensor:
    """What a receiver decodes of r [..., rows, channels], float32."""
    return codec.decode(codec.encode(r), r.shape[-2], r.shape[-1])


def to_half(x: Tensor) -> Tensor:
    """float16, saturated: a scale is never infinite on the wire."""
    return x.clamp(-HALF_MAX, HALF_MAX).half()


def to_half_up(x: Tensor) -> Tensor:
    """The least float16 that is not below x >= 0 (saturated)."""
    half = to_half(x)
    bits = half.view(torch.int16)
    return torch.where((half.float() < x) & (half < HALF_MAX), bits + 1, bits).view(torch.float16)


def half_bytes(x: Tensor) -> bytes:
    """Little-endian bytes of a float16 tensor in row-major order."""
    return x.contiguous().numpy().astype("<f2").tobytes()


def pack(codes: Tensor, bits: int) -> bytes:
    """Codes [..., n] of `bits` bits each, the first in the lowest bits; the last axis is padded to a byte."""
    per_byte = 8 // bits
    codes = F.pad(codes.to(torch.int32), (0, -codes.shape[-1] % per_byte)).unflatten(-1, (-1, per_byte))
    shifts = torch.arange(per_byte, dtype=torch.int32) * bits
    return (codes << shifts).sum(-1).to(torch.uint8).contiguous().numpy().tobytes()


def outer_scale(r: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Magnitudes |R|, token factors u and channel means v (float16), and their product s = u v."""
    magnitude = r.abs()
    v = magnitude.mean(-2)
    token = magnitude.mean(-1)
    mean = token.mean(-1, keepdim=True)
    u = torch.where(mean > 0, token / mean, torch.zeros_like(token))
    u, v = to_half(u), to_half(v)
    return magnitude, u, v, u.float()[..., :, None] * v.float()[..., None, :]


class OneBit:
    """Sign of each element, times the product of a token and a channel scale."""

    name, family = "1bit", "1bit"

    def encode(self, r: Tensor) -> Parts:
        _, u, v, _ = outer_scale(r)
        return {"codes": r >= 0, "u": u, "v": v}

    def decode(self, parts: Parts, rows: int, channels: int) -> Tensor:
        s = parts["u"].float()[..., :, None] * parts["v"].float()[..., None, :]
        return torch.where(parts["codes"], s, -s)

    def wire(self, parts: Parts) -> bytes:
        return pack(parts["codes"], 1) + half_bytes(parts["u"]) + half_bytes(parts["v"])

    def message_bytes(self, rows: int, channels: int) -> int:
        return rows * -(-channels // 8) + 2 * rows + 2 * channels


class TwoBit:
    """Sign and one magnitude bit; levels .5 s and 2 s, or two levels fitted to each message."""

    family = "2bit"

    def __init__(self, fitted: bool) -> None:
        self.fitted = fitted
        self.name = "2bit-fitted" if fitted else "2bit"

    def encode(self, r: Tensor) -> Parts:
        magnitude, u, v, s = outer_scale(r)
        parts = {"u": u, "v": v}
        threshold = s
        if self.fitted:
            parts["levels"] = fit_levels(magnitude, s)
            threshold = s * (parts["levels"].float().mean(-1))[..., None, None]
        parts["codes"] = (r >= 0).to(torch.uint8) * 2 + (magnitude > threshold)
        return parts

    def decode(self, parts: Parts, rows: int, channels: int) -> Tensor:
        s = parts["u"].float()[..., :, None] * parts["v"].float()[..., None, :]
        low, high = s.new_full((1, 1), 0.5), s.new_full((1, 1), 2.0)
        if self.fitted:
            levels = parts["levels"].float()
            low, high = levels[..., 0, None, None], levels[..., 1, None, None]
        size = torch.where((parts["codes"] & 1).bool(), high, low) * s
        return torch.where((parts["codes"] & 2).bool(), size, -size)

    def wire(self, parts: Parts) -> bytes:
        tail = half_bytes(parts["levels"]) if self.fitted else b""
        return pack(parts["codes"], 2) + half_bytes(parts["u"]) + half_bytes(parts["v"]) + tail

    def message_bytes(self, rows: int, channels: int) -> int:
        return rows * -(-channels // 4) + 2 * rows + 2 * channels + (4 if self.fitted else 0)


def fit_levels(magnitude: Tensor, s: Tensor) -> Tensor:
    """Lloyd-Max levels a0 < a1 [..., 2] (float16, in units of s) of z = |R| / s with weight s^2.

    Each level is sum |R| s / sum s^2 of its members, from a histogram of z over [0, 8) with an open last bin.
    """
    flat_r, flat_s = magnitude.flatten(-2), s.flatten(-2)
    width = HISTOGRAM_TOP / HISTOGRAM_BINS
    z = torch.where(flat_s > 0, flat_r / flat_s, torch.zeros_like(flat_r))
    index = (z / width).clamp_(max=HISTOGRAM_BINS - 1).long()
    zero = flat_r.new_zeros(*flat_r.shape[:-1], HISTOGRAM_BINS)
    first = zero.scatter_add(-1, index, flat_r * flat_s).double().cumsum(-1)
    weight = zero.scatter_add(-1, index, flat_s * flat_s).double().cumsum(-1)
    low = torch.full(flat_r.shape[:-1], 0.5, dtype=torch.float64)
    high = torch.full_like(low, 2.0)
    for _ in range(LLOYD_ROUNDS):
        cut = ((low + high) / 2 / width).round().long().clamp(1, HISTOGRAM_BINS - 1)[..., None] - 1
        below, below_w = first.gather(-1, cut)[..., 0], weight.gather(-1, cut)[..., 0]
        above, above_w = first[..., -1] - below, weight[..., -1] - below_w
        low = torch.where(below_w > 0, below / below_w.clamp(min=1e-300), low)
        high = torch.where(above_w > 1e-12 * weight[..., -1], above / above_w.clamp(min=1e-300), high)
    return to_half(torch.stack([low, high], dim=-1).float())


class Integer:
    """Two's complement codes with one float16 scale for 64 consecutive channels of a row."""

    family = "int"

    def __init__(self, bits: int) -> None:
        self.bits, self.top = bits, 2 ** (bits - 1) - 1
        self.name = f"int{bits}"

    def encode(self, r: Tensor) -> Parts:
        groups = F.pad(r, (0, -r.shape[-1] % GROUP)).unflatten(-1, (-1, GROUP))
        scale = to_half_up(groups.abs().amax(-1) / self.top)
        step = scale.float()[..., None]
        codes = torch.where(step > 0, groups / step, torch.zeros_like(groups)).round_().clamp_(-self.top, self.top)
        return {"codes": codes.flatten(-2)[..., : r.shape[-1]].to(torch.int8), "scale": scale}

    def decode(self, parts: Parts, rows: int, channels: int) -> Tensor:
        codes = F.pad(parts["codes"], (0, -channels % GROUP)).float().unflatten(-1, (-1, GROUP))
        return (codes * parts["scale"].float()[..., None]).flatten(-2)[..., :channels]

    def wire(self, parts: Parts) -> bytes:
        return pack(parts["codes"].to(torch.int32) & (2**self.bits - 1), self.bits) + half_bytes(parts["scale"])

    def message_bytes(self, rows: int, channels: int) -> int:
        return rows * -(-channels * self.bits // 8) + 2 * rows * -(-channels // GROUP)


class Float8:
    """e4m3 (448 at most, saturating, ties to even) with one float16 scale a row."""

    name, family = "fp8", "int"

    def encode(self, r: Tensor) -> Parts:
        scale = to_half_up(r.abs().amax(-1) / 448.0)
        step = scale.float()[..., None]
        scaled = torch.where(step > 0, r / step, torch.zeros_like(r)).clamp_(-448.0, 448.0)
        return {"codes": scaled.to(torch.float8_e4m3fn), "scale": scale}

    def decode(self, parts: Parts, rows: int, channels: int) -> Tensor:
        return parts["codes"].float() * parts["scale"].float()[..., None]

    def wire(self, parts: Parts) -> bytes:
        return parts["codes"].view(torch.uint8).contiguous().numpy().tobytes() + half_bytes(parts["scale"])

    def message_bytes(self, rows: int, channels: int) -> int:
        return rows * channels + 2 * rows


class Sparse:
    """The largest element of every block of M channels of a row, in float16, and its position."""

    family = "1bit"

    def __init__(self, block: int) -> None:
        if block not in (2, 4, 8, 16):
            raise ValueError(f"sparse(1:{block}): the block is 2, 4, 8 or 16 channels")
        self.block = block
        self.name = f"sparse(1:{block})"

    def encode(self, r: Tensor) -> Parts:
        blocks = F.pad(r, (0, -r.shape[-1] % self.block)).unflatten(-1, (-1, self.block))
        index = blocks.abs().argmax(-1, keepdim=True)
        return {"values": to_half(blocks.gather(-1, index)[..., 0]), "codes": index[..., 0]}

    def decode(self, parts: Parts, rows: int, channels: int) -> Tensor:
        values, index = parts["values"].float()[..., None], parts["codes"][..., None]
        full = values.new_zeros(*values.shape[:-1], self.block).scatter(-1, index, values)
        return full.flatten(-2)[..., :channels]

    def wire(self, parts: Parts) -> bytes:
        return half_bytes(parts["values"]) + pack(parts["codes"].flatten(-2), 4)

    def message_bytes(self, rows: int, channels: int) -> int:
        blocks = rows * -(-channels // self.block)
        return 2 * blocks + -(-blocks // 2)


def codec(name: str) -> Codec:
    """The compressor of that name; `lowrank(r)`, `lowrank-int4(r)` and `sparse(1:M)` carry their size."""
    from .lowrank import LowRank

    fixed = {"1bit": OneBit, "fp8": Float8, "2bit": lambda: TwoBit(False), "2bit-fitted": lambda: TwoBit(True)}
    fixed |= {"int8": lambda: Integer(8), "int4": lambda: Integer(4)}
    if name in fixed:
        return fixed[name]()
    if match := re.fullmatch(r"lowrank(-int4)?\((\d+)\)", name):
        return LowRank(int(match[2]), quantised=bool(match[1]))
    if match := re.fullmatch(r"sparse\(1:(\d+)\)", name):
        return Sparse(int(match[1]))
    known = ", ".join([*sorted(fixed), "lowrank(r)", "lowrank-int4(r)", "sparse(1:M)"])
    raise ValueError(f"unknown compressor `{name}`; known are {known}, and `raw` and `stale` in assignments")
