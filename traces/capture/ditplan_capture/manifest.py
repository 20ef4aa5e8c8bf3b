"""What a trace's manifest says besides its files: model, sampler, device, libraries, environment.

Nothing private goes in: prompts as SHA-256 only, no paths, and only environment variables on a list that could
change numbers or speed.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from typing import Optional, Sequence

import torch
from torch import nn

#: Environment variables recorded: these prefixes ...
PREFIXES = ("NCCL_", "CUBLAS_", "CUDNN_", "PYTORCH_", "TORCH_NCCL_", "TORCHINDUCTOR_", "DIFFUSERS_ATTN_", "DITPLAN_")
#: ... and these names.
NAMES = (
    "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_MAX_CONNECTIONS", "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS",
)
#: Never recorded, whatever the prefix.
SECRET_WORDS = ("TOKEN", "KEY", "SECRET", "PASSWORD", "CREDENTIAL")
#: Libraries whose versions matter.
LIBRARIES = ("torch", "diffusers", "transformers", "safetensors", "numpy")


def prompt_hash(prompt: object) -> str:
    """SHA-256 of a prompt's UTF-8 text, in hexadecimal."""
    return hashlib.sha256(str(prompt).encode()).hexdigest()


def environment() -> dict[str, str]:
    """Environment variables that change numbers or speed; of a path only its last part."""
    names = (name for name in os.environ if name in NAMES or name.startswith(PREFIXES))
    safe = (name for name in sorted(names) if not any(word in name for word in SECRET_WORDS))
    return {name: os.environ[name].rsplit("/", 1)[-1] for name in safe}


def libraries() -> dict[str, str]:
    """Versions of the libraries that are installed, and Python's."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()


def _nvidia_driver() -> Optional[str]:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        return answer.splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def device(where: torch.device) -> dict[str, Optional[str]]:
    """Kind, name and driver of the device that the model runs on."""
    if where.type == "cuda":
        return {"kind": "cuda", "name": torch.cuda.get_device_name(where), "driver": _nvidia_driver()}
    return {"kind": where.type, "name": _cpu_name(), "driver": None}


def model_config(model: nn.Module) -> dict:
    """The model's configuration as JSON values, without private keys and paths."""
    config = getattr(model, "config", None) or {}
    config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    plain = json.loads(json.dumps(config, default=str))
    return {key: value for key, value in plain.items() if not key.startswith("_")}


def model_name(model: nn.Module) -> str:
    """The last part of the name it was loaded from, or its class."""
    config = getattr(model, "config", None)
    loaded = config.get("_name_or_path") if hasattr(config, "get") else None
    return (str(loaded).rstrip("/").rsplit("/", 1)[-1] if loaded else "") or type(model).__name__


def scheduler_sigmas(scheduler: object, first: int, steps: int) -> list[float]:
    """Noise levels [steps + 1] of `scheduler` from its step `first` on, noise first.

    `scheduler.sigmas` where there is one a step; else sqrt(1 - alpha_cumprod), the noise's share, ending at 0.
    """
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and len(sigmas) == first + steps + 1:
        return [float(sigma) for sigma in sigmas[first:]]
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        raise ValueError(f"{type(scheduler).__name__} has no noise levels; give them: record(..., sigmas=[...])")
    levels = [float((1 - alphas[int(t)]).clamp(min=0).sqrt()) for t in scheduler.timesteps[first:]]
    return [*levels, 0.0]


def samples(count: int, call: dict[str, Sequence]) -> list[dict]:
    """Entries of `count` samples from a pipeline call's prompts, negative prompts, seeds, guidance and labels.

    Samples beyond the prompts are the guidance's other half: before the prompts if the batch was doubled (`first`
    in `call` is "negative"), after them if the model is called twice a step.
    """
    prompts = [str(prompt) for prompt in call.get("prompts", [])]
    per_prompt = max(1, int(call.get("images_per_prompt", 1)))
    positive = [prompt for prompt in prompts for _ in range(per_prompt)]
    negative = [str(prompt) for prompt in call.get("negative_prompts", [])] or [""]
    rows: list[tuple[Optional[str], str]] = [(prompt, "") for prompt in positive]
    if positive and count == 2 * len(positive):
        other = [(negative[index % len(negative)], "negative prompt") for index in range(len(positive))]
        rows = other + rows if call.get("first") == "negative" else rows + other
    if len(rows) != count:
        rows = [(None, "")] * count
    seeds, labels = list(call.get("seeds", [])), list(call.get("labels", []))
    entries = []
    for index, (prompt, label) in enumerate(rows):
        own = index % max(1, len(positive)) if positive else index
        entries.append({
            "prompt_sha256": prompt_hash(prompt) if prompt is not None else None,
            "label": labels[index] if index < len(labels) else label,
            "seed": seeds[own] if own < len(seeds) else (seeds[0] if len(seeds) == 1 else None),
            "guidance": call.get("guidance"),
        })
    return entries


def today() -> str:
    """The date of the recording."""
    return datetime.date.today().isoformat()
