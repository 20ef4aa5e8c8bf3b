"""Transformer blocks of real sizes in plain PyTorch, cut where ranks exchange keys and values.

```text
Hidden ─▶ before: norm, modulation, q k v, qk-norm, RoPE ─▶ q, k, v ─▶ attention of a plan ─▶ after: out, MLP ─▶ Hidden
```
`JointBlock` has weights for image and text apart (FLUX double blocks; SD3 without RoPE and qk-norm), `SingleBlock` one
stream for both with the MLP beside the attention (FLUX), `CrossBlock` self-attention on the image and cross-attention
to the text (Wan, PixArt). Layouts follow the diffusers models; weights are random.

Not modelled: SD3.5's image-only attention, FLUX's bias-free details, HunyuanDiT's long skips.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Callable, ContextManager, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .model_shapes import Shape

#: mark("linear") is entered around work of that span class.
Mark = Callable[[str], ContextManager]
#: Cosines and sines [rows, 1, head_dim / 2] of a rank's rows (text first); None without RoPE.
Rope = Optional[tuple[Tensor, Tensor]]
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]

LATENT_CHANNELS = 64
ROPE_THETA = 10000.0


def unmarked(_: str) -> ContextManager:
    return contextlib.nullcontext()


@dataclass(frozen=True)
class Hidden:
    """A rank's rows: `image` [samples, rows, hidden], and `text` alike, or its rows at the head of `image` if joined."""

    image: Tensor
    text: Optional[Tensor] = None
    joined: int = 0

    def join(self) -> "Hidden":
        """Text and image in one tensor, text first."""
        if self.text is None:
            return self
        return Hidden(torch.cat([self.text, self.image], dim=1), None, self.text.shape[1])

    def image_only(self) -> Tensor:
        return self.image[:, self.joined :]


@dataclass(frozen=True)
class Inputs:
    """What blocks get beside the rows: conditioning [samples, hidden] (of cross blocks [samples, 6, hidden]), the rank's
    RoPE, the whole text [samples, text, context], a plain attention for cross-attention."""

    cond: Tensor
    rope: Rope = None
    context: Optional[Tensor] = None
    attention: Optional[Attention] = None
    mark: Mark = unmarked


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, weight.shape, weight, 1e-6)


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Pairs (i, i + head_dim / 2) of x [samples, rows, heads, head_dim] turned by the row's angles, in float32."""
    if rope is None:
        return x
    a, b = x.float().chunk(2, dim=-1)
    cos, sin = rope
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


def rope_table(shape: Shape, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines [text + image, 1, head_dim / 2] of a sequence; text is not rotated."""
    half = shape.head_dim // 2
    freq = ROPE_THETA ** (-torch.arange(half, dtype=torch.float32, device=device) / half)
    text = shape.text if shape.joint else 0
    place = torch.arange(shape.image, dtype=torch.float32, device=device)
    angle = torch.cat([torch.zeros(text, half, device=device), place[:, None] * freq])[:, None, :]
    return angle.cos(), angle.sin()


class Stream(nn.Module):
    """One stream's weights of a joint block: modulation, q, k, v, out, MLP."""

    def __init__(self, shape: Shape, qk_norm: bool) -> None:
        super().__init__()
        d, self.heads = shape.hidden, shape.heads
        width = shape.heads * shape.head_dim
        self.modulation = nn.Linear(d, 6 * d)
        self.q, self.k, self.v = (nn.Linear(d, width) for _ in range(3))
        self.out, self.up, self.down = nn.Linear(width, d), nn.Linear(d, shape.ffn), nn.Linear(shape.ffn, d)
        scale = nn.Parameter(torch.ones(shape.head_dim)) if qk_norm else None
        self.q_scale, self.k_scale = scale, scale

    def before(self, x: Tensor, inputs: Inputs) -> tuple[tuple[Tensor, Tensor, Tensor], tuple]:
        """(q, k, v) [samples, rows, heads, head_dim], and what `after` needs."""
        with inputs.mark("linear"):
            parts = self.modulation(F.silu(inputs.cond))[:, None].chunk(6, dim=-1)
        with inputs.mark("elementwise"):
            h = F.layer_norm(x, x.shape[-1:]) * (1 + parts[1]) + parts[0]
        with inputs.mark("linear"):
            q, k, v = (project(h).unflatten(-1, (self.heads, -1)) for project in (self.q, self.k, self.v))
        if self.q_scale is not None:
            with inputs.mark("elementwise"):
                q, k = rms(q, self.q_scale), rms(k, self.k_scale)
        return (q, k, v), (x, parts)

    def after(self, attended: Tensor, saved: tuple, inputs: Inputs) -> Tensor:
        """The rows after this block; attended [samples, rows, heads x head_dim]."""
        x, (_, _, gate, shift, scale, mlp_gate) = saved
        with inputs.mark("linear"):
            h = self.out(attended)
        with inputs.mark("elementwise"):
            x = x + gate * h
            h = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        with inputs.mark("linear"):
            h = self.up(h)
        with inputs.mark("elementwise"):
            h = F.gelu(h, approximate="tanh")
        with inputs.mark("linear"):
            h = self.down(h)
        with inputs.mark("elementwise"):
            return x + mlp_gate * h


class JointBlock(nn.Module):
    """Image and text with weights of their own, one attention over both."""

    def __init__(self, shape: Shape, rope: bool, qk_norm: bool) -> None:
        super().__init__()
        self.rope = rope
        self.image, self.text = Stream(shape, qk_norm), Stream(shape, qk_norm)

    def before(self, h: Hidden, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, object]:
        image, image_saved = self.image.before(h.image, inputs)
        text, text_saved = self.text.before(h.text, inputs)
        with inputs.mark("elementwise"):
            q, k, v = (torch.cat(pair, dim=1) for pair in zip(text, image))
            if self.rope:
                q, k = rotate(q, inputs.rope), rotate(k, inputs.rope)
        return q, k, v, (text_saved, image_saved)

    def after(self, attended: Tensor, saved: object, inputs: Inputs) -> Hidden:
        text_saved, image_saved = saved
        rows = text_saved[0].shape[1]
        text, image = attended[:, :rows].flatten(2), attended[:, rows:].flatten(2)
        return Hidden(self.image.after(image, image_saved, inputs), self.text.after(text, text_saved, inputs))


class SingleBlock(nn.Module):
    """One stream of text and image; attention and MLP side by side, one output product."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, self.heads = shape.hidden, shape.heads
        self.modulation = nn.Linear(d, 3 * d)
        self.q, self.k, self.v = (nn.Linear(d, d) for _ in range(3))
        self.up, self.out = nn.Linear(d, shape.ffn), nn.Linear(d + shape.ffn, d)
        self.scale = nn.Parameter(torch.ones(shape.head_dim))

    def before(self, h: Hidden, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, object]:
        with inputs.mark("elementwise"):
            h = h.join()
        x = h.image
        with inputs.mark("linear"):
            shift, scale, gate = self.modulation(F.silu(inputs.cond))[:, None].chunk(3, dim=-1)
        with inputs.mark("elementwise"):
            y = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        with inputs.mark("linear"):
            q, k, v = (project(y).unflatten(-1, (self.heads, -1)) for project in (self.q, self.k, self.v))
            y = self.up(y)
        with inputs.mark("elementwise"):
            q, k = rotate(rms(q, self.scale), inputs.rope), rotate(rms(k, self.scale), inputs.rope)
            y = F.gelu(y, approximate="tanh")
        return q, k, v, (h, gate, y)

    def after(self, attended: Tensor, saved: object, inputs: Inputs) -> Hidden:
        h, gate, y = saved
        with inputs.mark("elementwise"):
            y = torch.cat([attended.flatten(2), y], dim=-1)
        with inputs.mark("linear"):
            y = self.out(y)
        with inputs.mark("elementwise"):
            return replace(h, image=h.image + gate * y)


class CrossBlock(nn.Module):
    """Self-attention on the image, cross-attention to the whole text on every rank, MLP; one modulation for all blocks."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, self.heads = shape.hidden, shape.heads
        self.table = nn.Parameter(torch.randn(6, d) / d**0.5)
        self.q, self.k, self.v, self.out = (nn.Linear(d, d) for _ in range(4))
        self.cross_q, self.cross_out = nn.Linear(d, d), nn.Linear(d, d)
        self.cross_k, self.cross_v = nn.Linear(shape.context, d), nn.Linear(shape.context, d)
        self.up, self.down = nn.Linear(d, shape.ffn), nn.Linear(shape.ffn, d)
        self.scale, self.cross_norm = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))

    def before(self, h: Hidden, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, object]:
        x = h.image
        with inputs.mark("elementwise"):
            parts = [part[:, None] for part in (self.table + inputs.cond).unbind(1)]
            y = F.layer_norm(x, x.shape[-1:]) * (1 + parts[1]) + parts[0]
        with inputs.mark("linear"):
            q, k, v = self.q(y), self.k(y), self.v(y)
        with inputs.mark("elementwise"):
            q, k, v = (t.unflatten(-1, (self.heads, -1)) for t in (rms(q, self.scale), rms(k, self.scale), v))
            q, k = rotate(q, inputs.rope), rotate(k, inputs.rope)
        return q, k, v, (x, parts)

    def after(self, attended: Tensor, saved: object, inputs: Inputs) -> Hidden:
        x, (_, _, gate, shift, scale, mlp_gate) = saved
        with inputs.mark("linear"):
            y = self.out(attended.flatten(2))
        with inputs.mark("elementwise"):
            x = x + gate * y
            y = F.layer_norm(x, x.shape[-1:], self.cross_norm)
        with inputs.mark("linear"):
            q, k, v = self.cross_q(y), self.cross_k(inputs.context), self.cross_v(inputs.context)
            q, k, v = (t.unflatten(-1, (self.heads, -1)) for t in (q, k, v))
        with inputs.mark("attention"):
            y = inputs.attention(q, k, v)
        with inputs.mark("linear"):
            y = self.cross_out(y.flatten(2))
        with inputs.mark("elementwise"):
            x = x + y
            y = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        with inputs.mark("linear"):
            y = self.up(y)
        with inputs.mark("elementwise"):
            y = F.gelu(y, approximate="tanh")
        with inputs.mark("linear"):
            y = self.down(y)
        with inputs.mark("elementwise"):
            return Hidden(x + mlp_gate * y)


def block_kinds(family: str, blocks: int) -> list[str]:
    """The kinds of `blocks` blocks of a family: a third of FLUX's are double (19 of 57), at least one."""
    if family != "flux":
        return ["cross" if family == "wan" else "joint"] * blocks
    double = max(1, round(blocks / 3))
    return ["double"] * double + ["single"] * (blocks - double)


def make_block(kind: str, shape: Shape) -> nn.Module:
    """A block of that kind with random weights, on the default device and type."""
    if kind == "double":
        return JointBlock(shape, rope=True, qk_norm=True)
    if kind == "joint":
        return JointBlock(shape, rope=False, qk_norm=False)
    return SingleBlock(shape) if kind == "single" else CrossBlock(shape)


@contextlib.contextmanager
def defaults(device: torch.device, dtype: torch.dtype):
    """Modules and tensors made inside are on `device` and of `dtype`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)
