"""Shapes of known diffusion transformers, and the matrix products and attentions that a rank of them runs.

Sizes are those of shared tables of the project (`sim/src/model`), from the models' own configuration files.

```text
share 1/N of the sequence ─▶ m of every linear, queries of attention
ring hop                     queries 1/N, keys 1/N       gathered keys, pipeline   queries 1/N, keys whole
Ulysses degree N             heads / N, whole sequence   tensor degree N           n / N or k / N
```
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator

#: Shares of the sequence, the most important first.
SHARES = (1, 2, 4, 8, 3, 6)
#: Tensor-parallel degrees.
DEGREES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Shape:
    """One model at one request: widths in features, lengths in tokens, `batch` samples in a forward pass."""

    name: str
    family: str
    hidden: int
    heads: int
    head_dim: int
    ffn: int
    image: int
    text: int
    batch: int = 1
    context: int = 0

    @property
    def model(self) -> str:
        """The model's name in ditplan, without the size of the request."""
        return re.sub(r"-(2048|4096|720p)$", "", self.name)

    @property
    def joint(self) -> bool:
        """Whether the text is in the attention."""
        return self.family in ("flux", "sd3")

    @property
    def attended(self) -> int:
        """Tokens in the self-attention of a sample."""
        return self.image + (self.text if self.joint else 0)


#: In order of importance: what no public table has comes first (head size 128, non-causal).
SHAPES = (
    Shape("FLUX.1-dev", "flux", 3072, 24, 128, 12288, 4096, 512),
    Shape("Wan2.1-T2V-14B", "wan", 5120, 40, 128, 13824, 32760, 512, context=5120),
    Shape("FLUX.1-dev-2048", "flux", 3072, 24, 128, 12288, 16384, 512),
    Shape("Wan2.1-T2V-1.3B", "wan", 1536, 12, 128, 8960, 32760, 512, context=1536),
    Shape("SD3-medium", "sd3", 1536, 24, 64, 6144, 4096, 333, batch=2),
    Shape("HunyuanVideo", "flux", 3072, 24, 128, 12288, 118800, 256),
    Shape("SD3.5-large", "sd3", 2432, 38, 64, 9728, 4096, 333, batch=2),
    Shape("PixArt-Sigma", "wan", 1152, 16, 72, 4608, 4096, 300, batch=2, context=1152),
    Shape("HunyuanDiT-v1.2", "wan", 1408, 16, 88, 6144, 4096, 333, batch=2, context=1024),
    Shape("CogVideoX-5b", "sd3", 3072, 48, 64, 12288, 17550, 226, batch=2),
    Shape("CogVideoX-2b", "sd3", 1920, 30, 64, 7680, 17550, 226, batch=2),
    Shape("Wan2.1-T2V-14B-720p", "wan", 5120, 40, 128, 13824, 75600, 512, context=5120),
    Shape("PixArt-Sigma-4096", "wan", 1152, 16, 72, 4608, 65536, 300, context=1152),
)
#: A model of the same layout small enough for a processor, for trying the program out.
TOY = (Shape("toy", "flux", 64, 4, 16, 128, 48, 16), Shape("toy-cross", "wan", 64, 4, 16, 128, 48, 8, context=64))

#: (tier, m, n, k): tier 0 is most important.
Product = tuple[int, int, int, int]
#: (tier, batch, heads, queries, keys, head_dim).
Call = tuple[int, int, int, int, int, int]


def share_of(tokens: int, share: int) -> int:
    """Tokens of the largest part when `tokens` are cut in `share` parts."""
    return -(-tokens // share)


def linears(shape: Shape) -> list[tuple[str, int, int]]:
    """(tensor-parallel split, n, k) of the distinct linears on the image (or joint) tokens of a block."""
    d, f = shape.hidden, shape.ffn
    found = [("column", d, d), ("row", d, d), ("column", f, d), ("row", d, f)]
    if shape.family == "flux":
        found.append(("row", d, d + f))
    return found


def products(shapes: tuple[Shape, ...] = SHAPES) -> Iterator[Product]:
    """Matrix products of the shapes at all shares and tensor degrees; some occur twice."""
    for rank, shape in enumerate(shapes):
        late = rank // 4
        for share in SHARES:
            m = shape.batch * share_of(shape.attended, share)
            for _, n, k in linears(shape):
                yield late + (share in (3, 6)), m, n, k
        if shape.family == "flux":
            for share in SHARES:
                for tokens in (shape.image, shape.text):
                    for _, n, k in linears(shape)[:4]:
                        yield late + 1 + (share in (3, 6)), shape.batch * share_of(tokens, share), n, k
        if shape.context:
            yield late + 1, shape.batch * shape.text, shape.hidden, shape.context
        for degree in DEGREES[1:]:
            for split, n, k in linears(shape):
                n, k = (share_of(n, degree), k) if split == "column" else (n, share_of(k, degree))
                yield late + 2, shape.batch * shape.attended, n, k
        modulation = 6 * shape.hidden
        if shape.joint:
            yield late + 2, shape.batch, modulation, shape.hidden


def attentions(shapes: tuple[Shape, ...] = SHAPES) -> Iterator[Call]:
    """Attention calls of the shapes: whole, ring hops, gathered keys, Ulysses' heads, cross-attention."""
    for rank, shape in enumerate(shapes):
        late, b, h, d, whole = rank // 4, shape.batch, shape.heads, shape.head_dim, shape.attended
        for share in SHARES:
            part = share_of(whole, share)
            yield late + (share in (3, 6)), b, h, part, part, d
            if share > 1:
                yield late + 1 + (share in (3, 6)), b, h, part, whole, d
            if share > 1 and h % share == 0:
                yield late + 1 + (share in (3, 6)), b, h // share, whole, whole, d
            if shape.context:
                yield late + 2, b, h, share_of(shape.image, share), shape.text, d
        if shape.batch == 2:
            yield late + 1, 1, h, whole, whole, d


def ordered(points: Iterator[tuple]) -> list[tuple]:
    """Each point once, at its best tier, tiers in order; within a tier in the order given."""
    best: dict[tuple, int] = {}
    for tier, *point in points:
        key = tuple(point)
        best[key] = min(tier, best.get(key, tier))
    return [(tier, *point) for point, tier in sorted(best.items(), key=lambda item: item[1])]
