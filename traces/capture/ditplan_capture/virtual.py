"""Executes a plan with N virtual ranks on one device, and writes the measured timeline beside the plan.

    python -m ditplan_capture.virtual --model flux --plan ring4/1bit --blocks 6 --steps 4 --device cuda --out DIR
    python -m ditplan_capture.virtual --model dit-digits --weights model.safetensors --plan pipefusion4 --device cpu --out DIR

Real blocks, real kernels, real compressors; messages go through pinned host memory on copy streams. DIR gets
`timeline.json` (of the repeat with the median makespan) and `plan.json` (what ran, makespans of all repeats, numerics).
Exits 1 when an exact strategy does not agree with one rank to rounding.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Sequence

import torch

from .attention_parts import KERNELS, kernel_for
from .calibrate import open_device
from .machine_profile import describe
from .shard import write_atomically
from .timeline import write
from .virtual_machine import Machine
from .virtual_model import NAMED, DigitsStack, Stack
from .virtual_plan import Plan, read_plan
from .virtual_run import Result, numerics, one_rank, repeated
from .wire_codec import TorchWire, WireCodec

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def make_stack(args: argparse.Namespace, device: torch.device) -> torch.nn.Module:
    """The model that the command line names."""
    dtype = TYPES[args.dtype or ("bf16" if device.type == "cuda" else "fp32")]
    kernel = kernel_for(device, dtype, args.attention)
    if args.model == "dit-digits":
        from .train_digits import load_weights

        if args.weights is None:
            raise ValueError("--model dit-digits: give its weights, --weights model.safetensors")
        model = load_weights(args.weights)
        return DigitsStack(model, [i % 10 for i in range(args.batch or 4)], args.steps, device, dtype, kernel)
    shape = NAMED[args.model]
    given = {"image": args.tokens, "text": args.text_tokens, "batch": args.batch or 1}
    shape = replace(shape, **{key: value for key, value in given.items() if value is not None})
    return Stack(shape, args.blocks, args.steps, device, dtype, kernel)


def make_codec(plan: Plan, choice: str, stack: torch.nn.Module) -> WireCodec | None:
    """The compressor at work: the repository's kernels on CUDA where they can be loaded, else PyTorch's codecs."""
    if not plan.lossy:
        return None
    if choice != "torch":
        from .cuda_codecs import Unavailable, cuda_wire

        try:
            return cuda_wire(plan.compressor, stack.noise.device, stack.dtype)
        except Unavailable as error:
            if choice == "cuda":
                raise ValueError(f"--codec cuda: {error}") from error
            if stack.noise.is_cuda:
                print(f"compressor {plan.compressor}: PyTorch's codec, because {error}", file=sys.stderr)
    return TorchWire(plan.compressor)


def plan_json(args: argparse.Namespace, plan: Plan, stack: torch.nn.Module, codec: WireCodec | None, result: Result, checked: dict) -> dict:
    """What ran, as `plan.json`: times in microseconds, one value a repeat."""
    shape, machine = stack.shape, describe(stack.noise.device)
    kept = ("gpu", "device", "system", "driver", "cuda", "torch", "commit", "date", "environment")
    return {
        "model": shape.model, "blocks": len(stack.blocks), "kinds": stack.kinds, "tokens": shape.image,
        "text_tokens": shape.text, "heads": shape.heads, "head_dim": shape.head_dim, "batch": shape.batch,
        "steps": args.steps, "plan": plan.line, "ranks": plan.ranks, "repeats": args.repeats,
        "makespan_us": result.makespan_us, "numerics": checked,
        "host_issue_us": result.host_issue_us, "exposed_communication_us": result.exposed_us, "classes_us": result.classes_us,
        "mode": "graph" if args.graph else "eager", "dtype": str(stack.dtype).removeprefix("torch."),
        "attention": stack.kernel, "codec": None if codec is None else codec.implementation,
        "layers": "the stage" if plan.strategy == "pipefusion" else "0 embedding, 1 to blocks, then output",
        "machine": {key: machine[key] for key in kept},
    }


def run(args: argparse.Namespace) -> dict:
    """Executes, checks and writes; the content of `plan.json`."""
    device, plan = open_device(args.device), read_plan(args.plan)
    if args.graph and device.type != "cuda":
        raise ValueError("--graph: CUDA graphs need --device cuda")
    stack = make_stack(args, device)
    codec = make_codec(plan, args.codec, stack)
    reference = one_rank(Machine(device), stack, args.steps)
    result = repeated(Machine(device, args.graph), stack, plan, args.steps, codec, args.repeats)
    content = plan_json(args, plan, stack, codec, result, numerics(plan, result.latent, reference))
    args.out.mkdir(parents=True, exist_ok=True)
    rows, messages = result.median_timeline()
    provenance = f"ditplan_capture.virtual, {args.model} {plan.line} on {content['machine']['gpu']}, torch {torch.__version__}"
    write(args.out / "timeline.json", rows, provenance, messages)
    write_atomically(args.out / "plan.json", (json.dumps(content, indent=1) + "\n").encode())
    return content


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*NAMED, "dit-digits"], required=True, metavar="MODEL", help="flux, sd3, wan, dit-digits, toy, toy-cross, or a known model's name")
    parser.add_argument("--plan", required=True, help="for instance ring4/1bit, see ditplan_capture.virtual_plan")
    parser.add_argument("--tokens", type=int, help="image tokens, default the model's")
    parser.add_argument("--text-tokens", type=int)
    parser.add_argument("--batch", type=int, help="samples in a forward pass, default 1 (dit-digits 4)")
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--dtype", choices=sorted(TYPES), help="default bf16 on CUDA, fp32 on a processor")
    parser.add_argument("--attention", choices=KERNELS, default="flash")
    parser.add_argument("--codec", choices=["auto", "cuda", "torch"], default="auto", help="auto: the CUDA kernels where they load")
    parser.add_argument("--graph", action="store_true", help="capture a run in a CUDA graph, so that no launching shows")
    parser.add_argument("--weights", type=Path, help="of dit-digits")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    args = parser().parse_args(arguments)
    try:
        if min(args.blocks, args.steps, args.repeats) < 1:
            raise ValueError("--blocks, --steps and --repeats: 1 at least")
        content = run(args)
    except (ValueError, OSError) as error:
        print(f"virtual: {error}", file=sys.stderr)
        sys.exit(2)
    checked, middle = content["numerics"], sorted(content["makespan_us"])[(len(content["makespan_us"]) - 1) // 2]
    print(f"{content['model']} {content['plan']}: {middle:.0f} us, {checked['expected']} error {checked['relative_error']:.2e}"
          + ("" if checked["ok"] else ", NOT as expected"))
    sys.exit(0 if checked["ok"] else 1)


if __name__ == "__main__":
    main()
