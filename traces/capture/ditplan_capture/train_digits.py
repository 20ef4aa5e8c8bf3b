"""Trains `dit-digits` on scikit-learn's digits: first at 16x16 pixels, then fine-tuned at 32x32.

    python -m ditplan_capture.train_digits --out traces/data/dit-digits

A run that is killed continues from its last checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .dit import Config, DigitsDiT
from .shard import write_atomically


@dataclass(frozen=True)
class Stage:
    """One resolution of the training: pixels a side, optimiser steps, batch, peak learning rate."""

    pixels: int
    steps: int
    batch: int
    rate: float


def load_digits(pixels: int) -> tuple[Tensor, Tensor]:
    """Pictures [1797, 1, pixels, pixels] with mean 0 and standard deviation .8, and their labels [1797]."""
    from sklearn.datasets import load_digits as load

    data = load()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None]
    images = F.interpolate(images, size=(pixels, pixels), mode="bicubic", align_corners=False)
    images = (images - images.mean()) / images.std() * 0.8
    return images, torch.tensor(data.target, dtype=torch.long)


def shifted(x: Tensor, reach: int) -> Tensor:
    """Each picture moved by up to `reach` pixels in both directions, its border repeated."""
    side = x.shape[-1]
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    offset = torch.randint(0, 2 * reach + 1, (x.shape[0], 2)).tolist()
    return torch.stack([p[:, dy : dy + side, dx : dx + side] for p, (dy, dx) in zip(padded, offset)])


def rate_factor(step: int, steps: int, warmup: int = 60) -> float:
    """Learning rate over its peak: linear warm-up, flat, linear decay over the last 40 %."""
    return min(1.0, (step + 1) / warmup, (steps - step) / (0.4 * steps))


def loss_of(model: DigitsDiT, x: Tensor, label: Tensor) -> Tensor:
    """Mean squared error of the velocity at logit-normal noise levels; a tenth of the labels is dropped."""
    t = torch.sigmoid(torch.randn(x.shape[0], device=x.device))
    noise = torch.randn_like(x)
    dropped = torch.rand(x.shape[0], device=x.device) < 0.1
    label = torch.where(dropped, model.config.classes, label)
    mixed = (1 - t)[:, None, None, None] * x + t[:, None, None, None] * noise
    return F.mse_loss(model(mixed, t, label).float(), noise - x)


@torch.no_grad()
def update_average(average: DigitsDiT, model: DigitsDiT, decay: float) -> None:
    """Exponential moving average of the weights, in place."""
    for a, b in zip(average.parameters(), model.parameters()):
        a.lerp_(b, 1 - decay)


def train_stage(model: DigitsDiT, average: DigitsDiT, stage: Stage, state: dict, save, bf16: bool) -> None:
    """Runs one stage from `state["step"]` on; `save` is called every 100 steps."""
    where = next(model.parameters()).device
    images, labels = (x.to(where) for x in load_digits(stage.pixels))
    optimizer = torch.optim.AdamW(model.parameters(), lr=stage.rate, weight_decay=0.01)
    if state.get("optimizer"):
        optimizer.load_state_dict(state["optimizer"])
    began, running = time.time(), None
    for step in range(state["step"], stage.steps):
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * rate_factor(step, stage.steps)
        pick = torch.randint(0, len(images), (stage.batch,))
        x = shifted(images[pick], stage.pixels // 16)
        with torch.autocast(where.type, dtype=torch.bfloat16, enabled=bf16):
            loss = loss_of(model, x, labels[pick])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        update_average(average, model, 0.995)
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 20 == 0:
            row = {"pixels": stage.pixels, "step": step + 1, "loss": round(running, 4), "wall_s": round(time.time() - began, 1)}
            state["log"].append(row)
            print(json.dumps(row), flush=True)
        if (step + 1) % 100 == 0:
            save(step + 1, optimizer.state_dict())


def train(out: Path, stages: list[Stage], seed: int, bf16: bool, config: Config = Config(), device: str = "cpu") -> DigitsDiT:
    """Trains through all stages and returns the averaged model; checkpoints under `out`."""
    torch.manual_seed(seed)
    model = DigitsDiT(config).to(device)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    state: dict = {"stage": 0, "step": 0, "log": [], "optimizer": None}
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False, map_location=device)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        state = saved["state"]
        torch.manual_seed(seed + 1000 * state["stage"] + state["step"])

    def save(stage: int, step: int, optimizer: dict | None) -> None:
        state.update(stage=stage, step=step, optimizer=optimizer)
        temporary = checkpoint.with_suffix(".tmp")
        torch.save({"model": model.state_dict(), "average": average.state_dict(), "state": state}, temporary)
        temporary.replace(checkpoint)

    for index in range(state["stage"], len(stages)):
        train_stage(model, average, stages[index], state, lambda s, o, i=index: save(i, s, o), bf16)
        save(index + 1, 0, None)
    content = {"seed": seed, "stages": [vars(s) for s in stages], "log": state["log"]}
    write_atomically(out / "training.json", json.dumps(content).encode())
    return average


def write_weights(model: DigitsDiT, path: Path) -> None:
    """Weights as float16 safetensors; the configuration is in the file's metadata."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().half().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, str(path), metadata={"config": json.dumps(model.config.to_dict())})


def load_weights(path: Path, device: str = "cpu") -> DigitsDiT:
    """The model as published: float16 weights, computed with in float32, on `device`."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        model = DigitsDiT(Config(**json.loads(file.metadata()["config"])))
        model.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})
    return model.to(device).eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of checkpoint, log and weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--coarse", type=int, default=1000, help="steps at 16x16 pixels")
    parser.add_argument("--fine", type=int, default=300, help="steps at 32x32 pixels")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cpu")
    parser.add_argument("--layers", type=int, default=Config.layers)
    parser.add_argument("--hidden", type=int, default=Config.hidden)
    parser.add_argument("--heads", type=int, default=Config.heads)
    parser.add_argument("--rate", type=float, default=1.2e-3, help="peak learning rate at 16x16 pixels, half of it at 32x32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    stages = [Stage(16, args.coarse, 32, args.rate), Stage(32, args.fine, 32, args.rate / 2)]
    config = Config(layers=args.layers, hidden=args.hidden, heads=args.heads)
    write_weights(train(args.out, stages, args.seed, args.bf16, config, args.device), args.out / "model.safetensors")


if __name__ == "__main__":
    main()
