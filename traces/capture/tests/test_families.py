"""What is recorded of each family is what attention sees, compared with sums done by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from conftest import CASES, manifest_of, shards_of

import ditplan_capture
from ditplan_capture.processors import attentions


def outputs(modules: dict[str, torch.nn.Module]) -> tuple[dict[str, torch.Tensor], list]:
    """The last output of each module, kept by forward hooks of the test's own."""
    kept, hooks = {}, []
    for name, module in modules.items():
        hooks.append(module.register_forward_hook(lambda _m, _i, out, name=name: kept.__setitem__(name, out.clone())))
    return kept, hooks


def record(case, path, **options):
    with ditplan_capture.record(case.model, path, scheduler=case.scheduler, dtype=torch.float32, **options):
        return case.run()


def test_every_layer_and_step_is_there_in_the_shape_of_the_manifest(case, tmp_path):
    record(case, tmp_path / "t")
    manifest = manifest_of(tmp_path / "t")
    model = manifest["model"]
    assert manifest["state"] == "complete"
    assert (model["layers"], model["heads"], model["head_dim"]) == (case.layers, case.heads, case.head_dim)
    assert (model["text_tokens"], model["image_tokens"], model["token_order"]) == (case.text, case.image, case.order)
    assert manifest["sampler"]["steps"] == 3 and len(manifest["sampler"]["sigmas"]) == 4
    sigmas = manifest["sampler"]["sigmas"]
    assert sigmas == sorted(sigmas, reverse=True) and abs(sigmas[-1]) < 1e-6
    shards = shards_of(tmp_path / "t")
    assert len(shards) == 3
    names = {f"layers.{layer}.{tensor}" for layer in range(case.layers) for tensor in "kv"}
    for shard in shards:
        assert set(shard) == names
        assert {tuple(x.shape) for x in shard.values()} == {(case.samples, case.text + case.image, 2, 16)}


def test_recording_changes_no_bit_of_the_result(case, tmp_path):
    original = F.scaled_dot_product_attention
    plain = case.run()
    recorded = record(case, tmp_path / "t")
    assert F.scaled_dot_product_attention is original, "what was wrapped is put back"
    assert torch.equal(plain, recorded) and torch.equal(plain, case.run())


def test_values_are_the_projections_output_at_their_place_in_the_sequence(case, tmp_path):
    name, module = attentions(case.model)[0]
    kept, hooks = outputs({"v": module.to_v})
    record(case, tmp_path / "t", layers=[0])
    for hook in hooks:
        hook.remove()
    v = kept["v"].unflatten(-1, (2, 16))
    stored = shards_of(tmp_path / "t")[-1]["layers.0.v"]
    start = {"text-first": stored.shape[1] - v.shape[1], "image-first": 0, "image-only": 0}[case.order]
    assert torch.equal(stored[:, start : start + v.shape[1]], v), name


def rotate_pairs(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """RoPE of neighbouring channels (2i, 2i+1); x [samples, tokens, heads, head_dim], cos and sin broadcast to it."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack([-odd, even], dim=-1).flatten(-2)
    return x * cos + turned * sin


def test_flux_keys_by_hand(tmp_path):
    """k = RoPE(concat(RMSNorm(add_k_proj(text)), RMSNorm(to_k(image)))), angle t / 10000^(2i/d) for each axis."""
    torch.manual_seed(3)
    case = CASES["flux"]()
    attn = case.model.transformer_blocks[1].attn
    torch.nn.init.uniform_(attn.norm_k.weight, 0.5, 1.5)
    kept, hooks = outputs({"k": attn.to_k, "text": attn.add_k_proj})
    record(case, tmp_path / "t")

    def norm(x, weight):
        x = x.unflatten(-1, (2, 16))
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight

    k = torch.cat([norm(kept["text"], attn.norm_added_k.weight), norm(kept["k"], attn.norm_k.weight)], dim=1)
    ids = torch.cartesian_prod(torch.zeros(1), torch.arange(4.0), torch.arange(4.0))
    ids = torch.cat([torch.zeros(5, 3), ids])
    angles = [
        ids[:, axis, None] * 10000.0 ** (-torch.arange(0, width, 2) / width) for axis, width in enumerate((4, 6, 6))
    ]
    angle = torch.cat(angles, dim=-1).repeat_interleave(2, dim=-1)[None, :, None, :]
    expected = rotate_pairs(k, angle.cos(), angle.sin())
    torch.testing.assert_close(shards_of(tmp_path / "t")[-1]["layers.1.k"], expected, rtol=1e-5, atol=1e-5)
    for hook in hooks:
        hook.remove()


def test_cogvideox_keys_by_hand(tmp_path):
    """k = LayerNorm(to_k(text, video)) per head, then RoPE on the video's tokens only."""
    torch.manual_seed(3)
    case = CASES["cogvideox"]()
    attn = case.model.transformer_blocks[0].attn1
    kept, hooks = outputs({"k": attn.to_k})
    record(case, tmp_path / "t")
    from diffusers.models.embeddings import get_3d_rotary_pos_embed

    k = kept["k"].unflatten(-1, (2, 16))
    k = F.layer_norm(k, (16,), attn.norm_k.weight, attn.norm_k.bias, 1e-6)
    cos, sin = (x[None, :, None, :] for x in get_3d_rotary_pos_embed(16, ((0, 0), (4, 4)), (4, 4), 2))
    expected = torch.cat([k[:, :6], rotate_pairs(k[:, 6:], cos, sin)], dim=1)
    torch.testing.assert_close(shards_of(tmp_path / "t")[-1]["layers.0.k"], expected, rtol=1e-5, atol=1e-5)
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("family, order", [("sd3", "image-first"), ("pixart", "image-only"), ("wan", "image-only")])
def test_other_keys_by_hand(family, order, tmp_path):
    """SD3: RMSNorm per head, image then text; PixArt: nothing; Wan: RMSNorm over all heads, then RoPE."""
    torch.manual_seed(3)
    case = CASES[family]()
    attn = attentions(case.model)[1][1]
    modules = {"k": attn.to_k, **({"text": attn.add_k_proj} if family == "sd3" else {})}
    kept, hooks = outputs(modules)
    record(case, tmp_path / "t")
    k = kept["k"].unflatten(-1, (2, 16))
    if family == "sd3":
        text = kept["text"].unflatten(-1, (2, 16))
        k = torch.cat([F.rms_norm(k, (16,), attn.norm_k.weight, 1e-6), F.rms_norm(text, (16,), None, 1e-6)], dim=1)
    if family == "wan":
        k = F.rms_norm(kept["k"], (32,), attn.norm_k.weight, 1e-6).unflatten(-1, (2, 16))
        cos, sin = case.model.rope(case.latent)
        k = rotate_pairs(k, cos, sin)
    torch.testing.assert_close(shards_of(tmp_path / "t")[-1]["layers.1.k"], k, rtol=1e-5, atol=1e-5)
    for hook in hooks:
        hook.remove()
