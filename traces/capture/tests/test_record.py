"""Subsets, statistics, manifest, overhead, steps and branches of a recording."""

from __future__ import annotations

import csv
import gzip
import hashlib

import pytest
import torch
from conftest import manifest_of, shards_of

import ditplan_capture

KEYS = {
    "format", "version", "state", "model", "sampler", "samples", "recorded", "dtype", "device", "libraries",
    "environment", "capture", "files", "created", "license",
}


def record(case, path, run_steps=4, **options):
    with ditplan_capture.record(case.model, path, scheduler=case.scheduler, **options) as recorder:
        case.run(run_steps)
    return recorder


def statistics(path):
    with gzip.open(path / "stats.csv.gz", "rt") as rows:
        return list(csv.DictReader(rows))


def test_the_manifest_has_the_keys_of_the_format(flux_case, tmp_path, monkeypatch):
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    monkeypatch.setenv("NCCL_SECRET_TOKEN", "hidden")
    monkeypatch.setenv("NCCL_TOPO_FILE", "/home/someone/topo.xml")
    record(flux_case, tmp_path / "t", prompts=["a cat", "a dog"], seeds=[1, 2], guidance=3.5, license="CC0-1.0")
    manifest = manifest_of(tmp_path / "t")
    assert set(manifest) == KEYS
    assert (manifest["format"], manifest["version"], manifest["state"]) == ("ditplan-trace", 1, "complete")
    assert manifest["model"]["architecture"] == "FluxTransformer2DModel"
    assert manifest["model"]["config"]["num_layers"] == 2
    names = ["transformer_blocks.0.attn", "transformer_blocks.1.attn", "single_transformer_blocks.0.attn"]
    assert manifest["model"]["layer_names"] == names
    assert manifest["recorded"] == {"layers": [0, 1, 2], "steps": [0, 1, 2, 3], "heads": None, "tokens": None}
    sample = manifest["samples"][1]
    assert sample["prompt_sha256"] == hashlib.sha256(b"a dog").hexdigest()
    assert (sample["seed"], sample["guidance"]) == (2, 3.5)
    assert manifest["dtype"] == "float16" and manifest["license"] == "CC0-1.0"
    assert manifest["device"]["kind"] == "cpu" and manifest["device"]["name"]
    assert {"torch", "diffusers", "python"} <= set(manifest["libraries"])
    assert manifest["environment"]["NCCL_ALGO"] == "Ring"
    assert manifest["environment"]["NCCL_TOPO_FILE"] == "topo.xml"
    assert "NCCL_SECRET_TOKEN" not in manifest["environment"]
    assert set(manifest["capture"]) == {"wall_s", "plain_wall_s", "overhead_pct", "peak_buffer_bytes"}
    for file in manifest["files"]:
        content = (tmp_path / "t" / file["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    assert [file["name"] for file in manifest["files"]] == [
        *(f"kv-{n:05}-of-00004.safetensors" for n in range(1, 5)), "stats.csv.gz",
    ]


def test_a_subset_is_that_part_of_the_whole(flux_case, tmp_path):
    record(flux_case, tmp_path / "whole")
    part = {"layers": [2, 0], "steps": [1, 3], "heads": [1], "tokens": (3, 12), "samples": [1]}
    record(flux_case, tmp_path / "part", **part)
    whole, some = shards_of(tmp_path / "whole"), shards_of(tmp_path / "part")
    recorded = manifest_of(tmp_path / "part")["recorded"]
    assert recorded == {"layers": [0, 2], "steps": [1, 3], "heads": [1], "tokens": [3, 12], "samples": [1]}
    assert len(some) == 2
    for shard, step in zip(some, [1, 3]):
        assert set(shard) == {"layers.0.k", "layers.0.v", "layers.2.k", "layers.2.v"}
        for name, x in shard.items():
            assert torch.equal(x, whole[step][name][1:2, 3:12, 1:2]), name


def test_statistics_are_those_of_all_layers_steps_and_samples(flux_case, tmp_path):
    record(flux_case, tmp_path / "whole")
    record(flux_case, tmp_path / "part", layers=[1], steps=[2], samples=[0])
    assert statistics(tmp_path / "part") == statistics(tmp_path / "whole")
    shards, rows = shards_of(tmp_path / "whole"), statistics(tmp_path / "whole")
    assert len(rows) == 2 * 4 * 3 * 2
    for row in rows:
        sample, step = int(row["sample"]), int(row["step"])
        name = f"layers.{row['layer']}.{row['tensor']}"
        x = shards[step][name][sample].float()
        assert float(row["norm"]) == pytest.approx(x.norm().item(), rel=1e-5)
        if step == 0:
            assert row["residual_norm"] == "" and row["cosine"] == ""
            continue
        before = shards[step - 1][name][sample].float()
        assert float(row["residual_norm"]) == pytest.approx((x - before).norm().item(), rel=1e-4)
        cosine = torch.nn.functional.cosine_similarity(x.flatten(), before.flatten(), dim=0).item()
        assert float(row["cosine"]) == pytest.approx(cosine, abs=1e-5)


@pytest.mark.parametrize("wrong, words", [
    ({"layers": [3]}, "layers 0 to 2"), ({"steps": [4]}, "steps 0 to 3"), ({"heads": [2]}, "heads 0 to 1"),
    ({"tokens": (0, 22)}, "tokens 0 to 20"), ({"samples": [2]}, "samples 0 to 1"),
    ({"dtype": torch.float64}, "float16"),
])
def test_what_is_not_there_is_refused(flux_case, tmp_path, wrong, words):
    with pytest.raises(ValueError, match=words):
        record(flux_case, tmp_path / "t", **wrong)


def test_overhead_is_measured(flux_case, tmp_path):
    with ditplan_capture.record(flux_case.model, tmp_path / "t", scheduler=flux_case.scheduler) as recorder:
        recorder.compare(lambda: flux_case.run(4))
    capture = manifest_of(tmp_path / "t")["capture"]
    assert manifest_of(tmp_path / "t")["state"] == "complete"
    assert recorder.overhead_pct > 0 and capture["overhead_pct"] == recorder.overhead_pct
    assert capture["wall_s"] > capture["plain_wall_s"] > 0


def test_without_a_scheduler_the_timestep_argument_counts_steps(flux_case, tmp_path):
    record(flux_case, tmp_path / "a", run_steps=3)
    sigmas = manifest_of(tmp_path / "a")["sampler"]["sigmas"]
    with ditplan_capture.record(flux_case.model, tmp_path / "b", sigmas=sigmas):
        flux_case.run(3)
    for a, b in zip(shards_of(tmp_path / "a"), shards_of(tmp_path / "b"), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_two_calls_in_a_step_are_samples_side_by_side(flux_case, tmp_path):
    """Guidance by two passes: rows 0 and 1 of the first call, then 2 and 3 of the second."""
    call = flux_case.call
    flux_case.call = lambda x, t: call(x, t) + 0 * call(x + 1, t)
    record(flux_case, tmp_path / "t", prompts=["a", "b"])
    record(flux_case, tmp_path / "second", samples=[2, 3])
    shards, second = shards_of(tmp_path / "t"), shards_of(tmp_path / "second")
    assert shards[1]["layers.0.k"].shape[0] == 4
    assert not torch.equal(shards[1]["layers.0.v"][:2], shards[1]["layers.0.v"][2:])
    assert all(torch.equal(second[1][name], shards[1][name][2:]) for name in second[1])
    labels = [sample["label"] for sample in manifest_of(tmp_path / "t")["samples"]]
    assert labels == ["", "", "negative prompt", "negative prompt"]


def test_a_second_run_is_refused(flux_case, tmp_path):
    with pytest.raises(RuntimeError, match="one run"):
        with ditplan_capture.record(flux_case.model, tmp_path / "t", scheduler=flux_case.scheduler):
            flux_case.run(2)
            flux_case.run(2)


def test_an_existing_path_is_kept_unless_told(flux_case, tmp_path):
    record(flux_case, tmp_path / "t", run_steps=2)
    with pytest.raises(FileExistsError, match="overwrite"):
        record(flux_case, tmp_path / "t", run_steps=2)
    record(flux_case, tmp_path / "t", run_steps=3, overwrite=True)
    assert len(shards_of(tmp_path / "t")) == 3
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("dear")
    with pytest.raises(FileExistsError):
        record(flux_case, tmp_path / "other", run_steps=2, overwrite=True)


def test_a_processor_that_hides_its_attention_is_named(tmp_path):
    from conftest import pixart
    from diffusers.models.attention_processor import AttnProcessor

    case = pixart()
    case.model.set_attn_processor(AttnProcessor())
    with pytest.raises(RuntimeError, match="AttnProcessor"):
        record(case, tmp_path / "t")


def test_named_modules(flux_case, tmp_path):
    kept = []
    module = flux_case.model.transformer_blocks[1].attn.to_k
    hook = module.register_forward_hook(lambda _m, _i, out: kept.append(out.clone()))
    names = {f"transformer_blocks.{n}.attn.to_{tensor}": tensor for n in (0, 1) for tensor in "kv"}
    record(flux_case, tmp_path / "t", modules=names, dtype=torch.float32)
    hook.remove()
    shards, model = shards_of(tmp_path / "t"), manifest_of(tmp_path / "t")["model"]
    assert model["layer_names"] == ["transformer_blocks.0.attn", "transformer_blocks.1.attn"]
    assert torch.equal(shards[2]["layers.1.k"], kept[2].unflatten(-1, (2, 16)))
    with pytest.raises(ValueError, match="no module 'transformer_blocks.9.attn.to_k'; near"):
        record(flux_case, tmp_path / "u", modules={"transformer_blocks.9.attn.to_k": "k"})
    with pytest.raises(ValueError, match="one 'k' and one 'v'"):
        record(flux_case, tmp_path / "u", modules={"transformer_blocks.0.attn.to_k": "k"})


def flux_pipeline(case):
    """A whole pipeline without text encoders and VAE: prompt embeddings in, latents out."""
    from diffusers import FluxPipeline

    parts = {name: None for name in ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")}
    pipe = FluxPipeline(scheduler=case.scheduler, transformer=case.model, **parts)
    pipe.set_progress_bar_config(disable=True)
    pipe.default_sample_size = 4
    return pipe


def test_a_pipeline_says_its_seed_and_guidance(tmp_path):
    from conftest import flux

    case = flux(layers=1)
    pipe = flux_pipeline(case)
    model_class = type(pipe)

    def run():
        return pipe(
            prompt_embeds=torch.zeros(1, 5, 32), pooled_prompt_embeds=torch.zeros(1, 32), num_inference_steps=3,
            height=32, width=32, guidance_scale=2.5, generator=torch.Generator().manual_seed(11), output_type="latent",
        ).images

    with ditplan_capture.record(pipe, tmp_path / "t") as recorder:
        recorded = recorder.compare(run)
    assert torch.equal(recorded, run()) and type(pipe) is model_class
    manifest = manifest_of(tmp_path / "t")
    assert manifest["state"] == "complete" and manifest["sampler"]["steps"] == 3
    assert manifest["sampler"]["name"] == "FlowMatchEulerDiscreteScheduler"
    assert manifest["samples"] == [{"prompt_sha256": None, "label": "", "seed": 11, "guidance": 2.5}]
    assert manifest["model"]["text_tokens"] == 5


def test_prompts_of_a_call_are_hashed_and_a_doubled_batch_has_the_negative_ones_first():
    from ditplan_capture.calls import describe_call
    from ditplan_capture.manifest import prompt_hash, samples

    call = describe_call({"prompt": ["a", "b"], "negative_prompt": "ugly", "guidance_scale": 4.0})
    entries = samples(4, {"first": "negative", **call})
    assert [entry["prompt_sha256"] for entry in entries] == [prompt_hash(p) for p in ("ugly", "ugly", "a", "b")]
    assert [entry["label"] for entry in entries] == ["negative prompt"] * 2 + [""] * 2
    twice = samples(2, {"first": "positive", **describe_call({"prompt": "a", "num_images_per_prompt": 2})})
    assert [entry["prompt_sha256"] for entry in twice] == [prompt_hash("a")] * 2


def test_the_digits_model(tmp_path):
    from ditplan_capture.dit import Config, DigitsDiT, sigmas

    model = DigitsDiT(Config(layers=2, pixels=8)).eval()
    levels = sigmas(3)
    x = torch.randn(2, 1, 8, 8)
    with ditplan_capture.record(model, tmp_path / "t", sigmas=levels), torch.no_grad():
        for now, after in zip(levels, levels[1:]):
            x = x + (after - now).float() * model(x, now.float().expand(2), torch.tensor([3, 4]))
    manifest = manifest_of(tmp_path / "t")
    assert (manifest["model"]["text_tokens"], manifest["model"]["image_tokens"]) == (8, 16)
    assert manifest["state"] == "complete" and len(shards_of(tmp_path / "t")) == 3
