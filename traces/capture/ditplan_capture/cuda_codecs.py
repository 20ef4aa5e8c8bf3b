"""The repository's CUDA kernels (`kernels/cuda/*.cu`) as compressors of virtual ranks, loaded through CuPy."""

from __future__ import annotations

import torch

from .wire_codec import WireCodec


class Unavailable(RuntimeError):
    """Why the kernels cannot be used here, in one clause."""


def cuda_wire(name: str, device: torch.device, dtype: torch.dtype) -> WireCodec:
    """The kernels of compressor `name`; `Unavailable` says why not."""
    if device.type != "cuda":
        raise Unavailable("kernels need a CUDA device")
    raise Unavailable(f"there are no kernels of {name} to load yet")
