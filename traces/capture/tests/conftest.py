"""Small, randomly initialised transformers of the five families, each with a loop that samples them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import pytest
import torch

torch.set_num_threads(1)


@dataclass
class Case:
    """A model, its scheduler, one call of it, and what a trace of it must hold."""

    model: torch.nn.Module
    scheduler: object
    call: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    latent: torch.Tensor
    layers: int
    text: int
    image: int
    order: str
    heads: int = 2
    head_dim: int = 16
    samples: int = 2

    def run(self, steps: int = 3, stop_after: int | None = None) -> torch.Tensor:
        """Samples with the scheduler; the final latent."""
        self.scheduler.set_timesteps(steps)
        x = self.latent
        for index, t in enumerate(self.scheduler.timesteps):
            if index == stop_after:
                return x
            with torch.no_grad():
                out = self.call(x, t.expand(x.shape[0]))
            x = self.scheduler.step(out, t, x, return_dict=False)[0]
        return x


def _flow(**options):
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


def flux(layers: int = 2, single: int = 1) -> Case:
    from diffusers import FluxTransformer2DModel

    model = FluxTransformer2DModel(
        in_channels=4, num_layers=layers, num_single_layers=single, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 6, 6),
    ).eval()
    text, pooled = torch.randn(2, 5, 32), torch.randn(2, 32)
    ids = torch.cartesian_prod(torch.zeros(1), torch.arange(4.0), torch.arange(4.0))

    def call(x, t):
        return model(
            hidden_states=x, encoder_hidden_states=text, pooled_projections=pooled, timestep=t / 1000, img_ids=ids,
            txt_ids=torch.zeros(5, 3), return_dict=False,
        )[0]

    return Case(model, _flow(), call, torch.randn(2, 16, 4), layers + single, 5, 16, "text-first")


def sd3() -> Case:
    from diffusers import SD3Transformer2DModel

    model = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=3, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=64, out_channels=4,
        pos_embed_max_size=8, dual_attention_layers=(0,), qk_norm="rms_norm",
    ).eval()
    text, pooled = torch.randn(2, 7, 32), torch.randn(2, 64)

    def call(x, t):
        return model(x, encoder_hidden_states=text, pooled_projections=pooled, timestep=t, return_dict=False)[0]

    return Case(model, _flow(), call, torch.randn(2, 4, 8, 8), 3, 7, 16, "image-first")


def pixart() -> Case:
    from diffusers import DPMSolverMultistepScheduler, PixArtTransformer2DModel

    model = PixArtTransformer2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=16, num_attention_heads=2, in_channels=4,
        out_channels=8, caption_channels=32, cross_attention_dim=32, use_additional_conditions=False,
    ).eval()
    text = torch.randn(2, 7, 32)

    def call(x, t):
        added = {"resolution": None, "aspect_ratio": None}
        out = model(x, encoder_hidden_states=text, timestep=t, added_cond_kwargs=added, return_dict=False)[0]
        return out.chunk(2, dim=1)[0]

    return Case(model, DPMSolverMultistepScheduler(), call, torch.randn(2, 4, 8, 8), 2, 0, 16, "image-only")


def cogvideox() -> Case:
    from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
    from diffusers.models.embeddings import get_3d_rotary_pos_embed

    model = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=8, text_embed_dim=8,
        num_layers=2, sample_width=8, sample_height=8, sample_frames=5, patch_size=2, temporal_compression_ratio=4,
        max_text_seq_length=6, use_rotary_positional_embeddings=True,
    ).eval()
    text = torch.randn(2, 6, 8)
    rope = get_3d_rotary_pos_embed(16, ((0, 0), (4, 4)), (4, 4), 2)

    def call(x, t):
        return model(x, text, t, image_rotary_emb=rope, return_dict=False)[0]

    return Case(model, CogVideoXDDIMScheduler(), call, torch.randn(2, 2, 4, 8, 8), 2, 6, 32, "text-first")


def wan() -> Case:
    from diffusers import UniPCMultistepScheduler, WanTransformer3DModel

    model = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, text_dim=16,
        freq_dim=32, ffn_dim=32, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
    ).eval()
    text = torch.randn(2, 7, 16)

    def call(x, t):
        return model(x, t, text, return_dict=False)[0]

    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return Case(model, scheduler, call, torch.randn(2, 4, 2, 8, 8), 2, 0, 32, "image-only")


CASES = {"flux": flux, "sd3": sd3, "pixart": pixart, "cogvideox": cogvideox, "wan": wan}


@pytest.fixture(params=list(CASES))
def case(request) -> Case:
    """Each family in turn, the same at each call."""
    torch.manual_seed(7)
    return CASES[request.param]()


@pytest.fixture
def flux_case() -> Case:
    torch.manual_seed(7)
    return flux()


def manifest_of(path: Path) -> dict:
    return json.loads((path / "manifest.json").read_text())


def shards_of(path: Path) -> list[dict[str, torch.Tensor]]:
    """The tensors of each whole shard, read by safetensors' own reader."""
    from safetensors.torch import load_file

    return [load_file(path / file["name"]) for file in manifest_of(path)["files"] if "step" in file]
