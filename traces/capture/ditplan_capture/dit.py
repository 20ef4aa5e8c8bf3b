"""`dit-digits`: a small diffusion transformer (adaLN-zero, joint attention, rectified flow) that draws digits.

Sequence of a sample: 8 condition tokens of its class first, then the image tokens in row-major order.
Keys are normalised (RMS, per head) and then rotated (2-D RoPE on image tokens) before they reach `attend`,
so what `attend` sees is exactly what ranks would exchange.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Callable, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: attend(layer, q, k, v) -> output; all [samples, tokens, heads, head_dim].
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Config:
    """Shape of the model; lengths in tokens, pixels or features."""

    layers: int = 8
    hidden: int = 128
    heads: int = 4
    mlp_ratio: int = 3
    patch: int = 2
    pixels: int = 32
    text_tokens: int = 8
    classes: int = 10
    rope_extent: float = 16.0
    rope_theta: float = 100.0

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def image_tokens(self) -> int:
        return (self.pixels // self.patch) ** 2

    def to_dict(self) -> dict:
        return asdict(self)


def plain_attention(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of every token to every token, [samples, tokens, heads, head_dim]."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """x scaled to unit root mean square over the last dimension, times `weight`."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight


def rope_table(config: Config, side: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [text + side*side, 1, head_dim/2]; condition tokens are not rotated.

    Coordinates run over `rope_extent` whatever the grid, so weights carry over between resolutions.
    """
    quarter = config.head_dim // 4
    freq = config.rope_theta ** (-torch.arange(quarter, dtype=torch.float32) / quarter)
    pos = (torch.arange(side, dtype=torch.float32) + 0.5) * (config.rope_extent / side)
    grid_y, grid_x = torch.meshgrid(pos, pos, indexing="ij")
    angle = torch.cat([grid_y.reshape(-1, 1) * freq, grid_x.reshape(-1, 1) * freq], dim=-1)
    angle = torch.cat([torch.zeros(config.text_tokens, angle.shape[1]), angle])[:, None, :]
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the pairs (i, i + head_dim/2) of the last dimension."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def timestep_features(t: Tensor, width: int) -> Tensor:
    """Sinusoidal features [samples, width] of the noise level t in [0, 1]."""
    freq = torch.exp(-math.log(10000.0) * torch.arange(width // 2, dtype=torch.float32, device=t.device) / (width // 2))
    angle = 1000.0 * t[:, None].float() * freq
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class Block(nn.Module):
    """Transformer block; scale, shift and gate come from the timestep and class (adaLN-zero)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden
        self.heads = config.heads
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.q_scale = nn.Parameter(torch.ones(config.head_dim))
        self.k_scale = nn.Parameter(torch.ones(config.head_dim))
        self.proj = nn.Linear(width, width)
        self.up = nn.Linear(width, config.mlp_ratio * width)
        self.down = nn.Linear(config.mlp_ratio * width, width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, cond: Tensor, rope: tuple[Tensor, Tensor], layer: int, attend: Attend) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(cond)[:, None, :].chunk(6, dim=-1)
        h = F.layer_norm(x, x.shape[-1:]) * (1 + scale1) + shift1
        q, k, v = self.qkv(h).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q = rotate(rms_norm(q, self.q_scale), *rope)
        k = rotate(rms_norm(k, self.k_scale), *rope)
        x = x + gate1 * self.proj(attend(layer, q, k, v.to(k.dtype)).flatten(2).to(x.dtype))
        h = F.layer_norm(x, x.shape[-1:]) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.gelu(self.up(h), approximate="tanh"))


class DigitsDiT(nn.Module):
    """Predicts the velocity (noise minus image) of a 1-channel picture at noise level t."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        width, pixels = config.hidden, config.patch**2
        self.embed = nn.Linear(pixels, width)
        self.text = nn.Parameter(torch.randn(config.classes + 1, config.text_tokens, width) * 0.5)
        self.pooled = nn.Embedding(config.classes + 1, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_modulation = nn.Linear(width, 2 * width)
        self.final = nn.Linear(width, pixels)
        nn.init.normal_(self.pooled.weight, std=0.3)
        for layer in (self.final_modulation, self.final):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._rope: dict[int, tuple[Tensor, Tensor]] = {}

    def forward(self, x: Tensor, t: Tensor, label: Tensor, attend: Optional[Attend] = None) -> Tensor:
        """x [samples, 1, side, side], t [samples] in [0, 1], label [samples] -> velocity shaped as x."""
        patch, text = self.config.patch, self.config.text_tokens
        side = x.shape[-1] // patch
        if side not in self._rope or self._rope[side][0].device != x.device:
            self._rope[side] = tuple(table.to(x.device) for table in rope_table(self.config, side))
        cond = F.silu(self.time(timestep_features(t, self.config.hidden)) + self.pooled(label))
        image = self.embed(F.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2))
        h = torch.cat([self.text[label].to(image.dtype), image], dim=1)
        for index, block in enumerate(self.blocks):
            h = block(h, cond, self._rope[side], index, attend or plain_attention)
        shift, scale = self.final_modulation(cond)[:, None, :].chunk(2, dim=-1)
        h = F.layer_norm(h[:, text:], h.shape[-1:]) * (1 + scale) + shift
        return F.pixel_shuffle(self.final(h).transpose(1, 2).unflatten(2, (side, side)), patch)


def sigmas(steps: int) -> Tensor:
    """Noise levels of the Euler sampler, [steps + 1], from 1 (noise) down to 0 (image), in equal steps."""
    return torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
