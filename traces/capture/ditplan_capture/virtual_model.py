"""Models that virtual ranks run: stacks of FLUX-, SD3- and Wan-sized blocks with random weights, and `dit-digits`.

A step: latent rows z ─▶ embed ─▶ blocks ─▶ output rows v ─▶ z - dt v. Embedding and output act on each row alone, so a
rank needs its own rows only. Conditioning moves slowly from step to step, as time embeddings do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention_parts import plain
from .blocks import LATENT_CHANNELS, Hidden, Inputs, Mark, block_kinds, defaults, make_block, rope_table
from .dit import DigitsDiT, rms_norm, rope_table as digits_rope, rotate as digits_rotate, sigmas, timestep_features
from .model_shapes import SHAPES, TOY, Shape

#: Names on the command line -> the model whose sizes they have.
NAMED = {"flux": SHAPES[0], "wan": SHAPES[3], "sd3": SHAPES[4], "toy": TOY[0], "toy-cross": TOY[1]}
NAMED |= {shape.name: shape for shape in SHAPES}


class Stack(nn.Module):
    """`blocks` blocks of `shape` between an embedding and an output, and one request: noise, text, conditioning."""

    def __init__(self, shape: Shape, blocks: int, steps: int, device: torch.device, dtype: torch.dtype, kernel: str, seed: int = 0) -> None:
        super().__init__()
        self.shape, self.steps, self.kernel, self.dtype = shape, steps, kernel, dtype
        torch.manual_seed(seed)
        self.kinds = block_kinds(shape.family, blocks)
        with defaults(device, dtype):
            self.blocks = nn.ModuleList(make_block(kind, shape) for kind in self.kinds).requires_grad_(False).eval()
            self.embed, self.final = nn.Linear(LATENT_CHANNELS, shape.hidden), nn.Linear(shape.hidden, LATENT_CHANNELS)
            self.noise = torch.randn(shape.batch, shape.image, LATENT_CHANNELS)
            self.text = torch.randn(shape.batch, shape.text, shape.hidden) if shape.joint else None
            self.context = torch.randn(shape.batch, shape.text, shape.context) if shape.context else None
            wide = (shape.batch, 6, shape.hidden) if shape.family == "wan" else (shape.batch, shape.hidden)
            start, drift = torch.randn(wide), torch.randn(wide)
            self.conditions = [start + 0.1 * drift * step / max(1, steps) for step in range(steps)]
        self.requires_grad_(False)
        self.rope = rope_table(shape, device) if shape.family != "sd3" else None

    @property
    def text_rows(self) -> int:
        """Text rows in the attention."""
        return self.shape.text if self.shape.joint else 0

    def inputs(self, step: int, text: slice, image: slice, mark: Mark) -> Inputs:
        """What blocks get for these text and image rows."""
        rope = None
        if self.rope is not None:
            rows = self.text_rows
            rope = tuple(torch.cat([x[:rows][text], x[rows:][image]]) for x in self.rope)
        return Inputs(self.conditions[step], rope, self.context, lambda q, k, v: plain(q, k, v, self.kernel), mark)

    def start(self, z: Tensor, text: Optional[Tensor], step: int) -> Hidden:
        """Rows before the first block."""
        return Hidden(self.embed(z), text)

    def finish(self, h: Hidden, z: Tensor, step: int) -> Tensor:
        """The latent rows of the next step."""
        v = self.final(F.layer_norm(h.image_only(), h.image.shape[-1:]))
        return z - v / self.steps


class _DigitsBlock(nn.Module):
    """A trained block of `dit-digits`, cut as the others are."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.inner = block

    def before(self, h: Hidden, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, object]:
        b, h = self.inner, h.join()
        with inputs.mark("linear"):
            parts = b.modulation(inputs.cond)[:, None].chunk(6, dim=-1)
        with inputs.mark("elementwise"):
            y = F.layer_norm(h.image, h.image.shape[-1:]) * (1 + parts[1]) + parts[0]
        with inputs.mark("linear"):
            q, k, v = b.qkv(y).unflatten(-1, (3, b.heads, -1)).unbind(2)
        with inputs.mark("elementwise"):
            q, k = (digits_rotate(rms_norm(x, s), *inputs.rope).to(v.dtype) for x, s in ((q, b.q_scale), (k, b.k_scale)))
        return q, k, v, (h, parts)

    def after(self, attended: Tensor, saved: object, inputs: Inputs) -> Hidden:
        b, (h, (_, _, gate, shift, scale, mlp_gate)) = self.inner, saved
        with inputs.mark("linear"):
            y = b.proj(attended.flatten(2))
        with inputs.mark("elementwise"):
            x = h.image + gate * y
            y = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        with inputs.mark("linear"):
            y = b.up(y)
        with inputs.mark("elementwise"):
            y = F.gelu(y, approximate="tanh")
        with inputs.mark("linear"):
            y = b.down(y)
        with inputs.mark("elementwise"):
            return replace(h, image=x + mlp_gate * y)


class DigitsStack(nn.Module):
    """The trained model as a stack: latent rows are patches of the picture, a sample for each of `labels`."""

    def __init__(self, model: DigitsDiT, labels: list[int], steps: int, device: torch.device, dtype: torch.dtype, kernel: str, seed: int = 0) -> None:
        super().__init__()
        model = model.to(device=device, dtype=dtype)
        config, self.steps, self.kernel, self.dtype = model.config, steps, kernel, dtype
        self.shape = Shape(
            "dit-digits", "sd3", config.hidden, config.heads, config.head_dim, config.mlp_ratio * config.hidden,
            config.image_tokens, config.text_tokens, batch=len(labels),
        )
        self.model, self.blocks = model, nn.ModuleList(_DigitsBlock(block) for block in model.blocks)
        self.kinds = ["digits"] * len(self.blocks)
        side = config.pixels
        picture = torch.randn(len(labels), 1, side, side, generator=torch.Generator().manual_seed(seed))
        self.noise = F.pixel_unshuffle(picture, config.patch).flatten(2).transpose(1, 2).contiguous().to(device, dtype)
        label = torch.tensor(labels, device=device)
        self.text = model.text[label].to(dtype)
        self.context, self.levels = None, sigmas(steps).tolist()
        self.rope = tuple(x.to(device) for x in digits_rope(config, side // config.patch))
        t = [torch.full((len(labels),), level) for level in self.levels]
        features = [timestep_features(x, config.hidden).to(device, dtype) for x in t]
        self.conditions = [F.silu(model.time(f) + model.pooled(label)) for f in features]

    text_rows = Stack.text_rows
    inputs = Stack.inputs

    def start(self, z: Tensor, text: Optional[Tensor], step: int) -> Hidden:
        return Hidden(self.model.embed(z), text)

    def finish(self, h: Hidden, z: Tensor, step: int) -> Tensor:
        shift, scale = self.model.final_modulation(self.conditions[step])[:, None].chunk(2, dim=-1)
        v = self.model.final(F.layer_norm(h.image_only(), h.image.shape[-1:]) * (1 + scale) + shift)
        return z - (self.levels[step] - self.levels[step + 1]) * v
