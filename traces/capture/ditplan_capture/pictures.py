"""Grids of sampled digits as PNG.

    python -m ditplan_capture.pictures --model model.safetensors --out samples.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from .assignment import Assignment
from .closed_loop import Prompts, Run, run, sample
from .train_digits import load_weights


def write_grid(pictures: Tensor, columns: int, path: Path, zoom: int = 2) -> None:
    """Pictures [count, 1, side, side], row by row; -1 is black and 2 is white."""
    from PIL import Image

    grey = ((pictures[:, 0] + 1) / 3 * 255).clamp(0, 255).to(torch.uint8)
    rows = [torch.cat(list(grey[i : i + columns]), dim=1) for i in range(0, len(grey), columns)]
    sheet = torch.cat(rows).repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
    Image.fromarray(sheet.numpy(), mode="L").save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--uniform", nargs="*", default=[], help="one more row for each compressor, everywhere")
    parser.add_argument("--rows", type=int, default=4, help="rows of uncompressed samples, where no compressor is given")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_weights(args.model)
    if not args.uniform:
        write_grid(sample(model, Prompts.make("samples", 10 * args.rows, 0), args.steps), 10, args.out)
        return
    prompts = Prompts.make("samples", 10, 0)
    rows = [sample(model, prompts, args.steps)]
    how = Run(ranks=args.ranks, steps=args.steps)
    rows += [run(model, prompts, Assignment.uniform(name, model.config.layers), how) for name in args.uniform]
    write_grid(torch.cat(rows), 10, args.out)


if __name__ == "__main__":
    main()
