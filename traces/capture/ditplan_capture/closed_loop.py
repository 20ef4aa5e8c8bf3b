"""Runs the model with lossy communication, again and again from the same noise, and measures the picture's change."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from .assignment import Assignment
from .dit import Attend, DigitsDiT, sigmas
from .ranks import Shards, VirtualRanks, half_attention
from .residual import Rules


@dataclass(frozen=True)
class Prompts:
    """A set of samples: a class and a seed each."""

    name: str
    labels: tuple[int, ...]
    seeds: tuple[int, ...]

    @staticmethod
    def make(name: str, count: int, offset: int) -> "Prompts":
        """`count` samples: classes in turn, seeds from `offset`."""
        return Prompts(name, tuple((offset + i) % 10 for i in range(count)), tuple(range(offset, offset + count)))

    def part(self, first: int, count: int) -> "Prompts":
        """`count` of the samples from `first` on."""
        return Prompts(self.name, self.labels[first : first + count], self.seeds[first : first + count])

    def noise(self, side: int) -> Tensor:
        """The start of each sample, [samples, 1, side, side]."""
        draw = [torch.randn(1, side, side, generator=torch.Generator().manual_seed(seed)) for seed in self.seeds]
        return torch.stack(draw)

    def digest(self, index: int) -> str:
        """SHA-256 of the prompt's text: what it asks for, without the seed."""
        return hashlib.sha256(f"digit {self.labels[index]}".encode()).hexdigest()


@torch.no_grad()
def sample(model: DigitsDiT, prompts: Prompts, steps: int, attend: Attend = half_attention) -> Tensor:
    """Final pictures [samples, 1, side, side]; an `attend` with a `step` attribute is told the step."""
    where = next(model.parameters()).device
    x = prompts.noise(model.config.pixels).to(where)
    label = torch.tensor(prompts.labels, device=where)
    levels = sigmas(steps)
    for step in range(steps):
        if hasattr(attend, "step"):
            attend.step = step
        t = torch.full((x.shape[0],), float(levels[step]), device=where)
        x = x - float(levels[step] - levels[step + 1]) * model(x, t, label, attend)
    return x


@dataclass(frozen=True)
class Run:
    """One closed-loop run: how the ranks communicate, apart from what is compressed."""

    ranks: int = 4
    steps: int = 28
    strategy: str = "ring"
    rules: Rules = Rules()


def run(model: DigitsDiT, prompts: Prompts, assignment: Assignment, how: Run, skip_idle: bool = True) -> Tensor:
    """Final pictures of a run under `assignment`."""
    if assignment.layers() != model.config.layers:
        raise ValueError(f"an assignment of {assignment.layers()} layers for a model of {model.config.layers}")
    shards = Shards(how.ranks, model.config.text_tokens, model.config.image_tokens)
    ranks = VirtualRanks(shards, assignment, how.steps, how.rules, how.strategy, skip_idle)
    return sample(model, prompts, how.steps, ranks)


def deviations(pictures: Tensor, reference: Tensor) -> list[float]:
    """D = ||x - x0|| / ||x0|| of each sample, against the uncompressed run of the same seed."""
    difference = (pictures.double() - reference.double()).flatten(1).norm(dim=1)
    return (difference / reference.double().flatten(1).norm(dim=1)).tolist()


def geometric_mean(values: list[float]) -> float:
    """exp(mean ln); 0 when one is 0."""
    x = torch.tensor(values, dtype=torch.float64)
    return float(x.log().mean().exp()) if bool((x > 0).all()) else 0.0
