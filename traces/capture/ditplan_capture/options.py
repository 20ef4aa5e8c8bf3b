"""What to record of a run, and what to say about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

import torch
from torch import nn

from .shard import DTYPES


@dataclass(frozen=True)
class Options:
    """Keyword arguments of `record`; None records everything, or finds it out."""

    #: Layers whose K and V are stored, 0-based in the model's order; statistics are kept of all.
    layers: Optional[Sequence[int]] = None
    #: Steps that are stored, 0-based.
    steps: Optional[Sequence[int]] = None
    #: Heads that are stored.
    heads: Optional[Sequence[int]] = None
    #: First token of the sequence (text included) that is stored, and the one behind the last.
    tokens: Optional[tuple[int, int]] = None
    #: Rows of the batch that are stored; a second call of the model in a step continues the count.
    samples: Optional[Sequence[int]] = None
    #: Type stored: float16, bfloat16 or float32. Default: bfloat16 for a bfloat16 model, else float16.
    dtype: Optional[torch.dtype] = None
    #: Names of modules whose outputs are recorded instead of attention's inputs, each with "k" or "v".
    modules: Optional[Mapping[str, str]] = None
    #: The scheduler whose `step` ends a step, where the target is not a pipeline.
    scheduler: Optional[object] = None
    #: Noise levels [steps + 1], noise first, where there is no scheduler or it has none.
    sigmas: Optional[Sequence[float]] = None
    #: Prompts, one a sample (hashed); default: the pipeline's argument.
    prompts: Optional[Sequence[str]] = None
    #: Seeds, one a sample; default: those of the pipeline's generators.
    seeds: Optional[Sequence[int]] = None
    #: Names or classes for people, one a sample.
    labels: Optional[Sequence[object]] = None
    #: Guidance scale; default: the pipeline's argument.
    guidance: Optional[float] = None
    #: "text-first", "image-first" or "image-only" for models that are not known here.
    token_order: Optional[str] = None
    #: Text tokens of the joint sequence for models that are not known here.
    text_tokens: Optional[int] = None
    #: The model's name; default: what it was loaded from.
    name: Optional[str] = None
    #: Licence of the activations.
    license: Optional[str] = None
    #: Whether to keep norms and cosines of all layers, steps and samples (costs a copy of a step on the device).
    stats: bool = True
    #: Host memory for copies under way [bytes]; the model waits when it is full.
    max_buffer_bytes: int = 256 << 20
    #: Replaces a trace that stands at the path.
    overwrite: bool = False

    def stored_type(self, model: nn.Module) -> torch.dtype:
        """The type stored for `model`."""
        parameter = next(model.parameters(), None)
        own = parameter.dtype if parameter is not None else torch.float16
        dtype = self.dtype or (torch.bfloat16 if own == torch.bfloat16 else torch.float16)
        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype}: a trace stores {', '.join(str(known) for known in DTYPES)}")
        return dtype

    def said_of_samples(self) -> dict:
        """What the caller says of the samples, over what the pipeline's call says."""
        said = {"prompts": self.prompts, "seeds": self.seeds, "labels": self.labels, "guidance": self.guidance}
        return {key: value for key, value in said.items() if value is not None}


def chosen(what: str, wanted: Optional[Sequence[int]], available: int) -> list[int]:
    """The indices wanted, ascending, or all of `available`; refuses what is not there."""
    if wanted is None:
        return list(range(available))
    indices = sorted(set(int(index) for index in wanted))
    if not indices or indices[0] < 0 or indices[-1] >= available:
        raise ValueError(f"{what}={list(wanted)}: there are {what} 0 to {available - 1}")
    return indices
