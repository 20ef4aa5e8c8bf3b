"""Command line: records a run that a script describes.

    python -m ditplan_capture record script.py --out out.trace [--layers 0,18-20] [--steps 0-27] [--compare]
    python -m ditplan_capture timeline script.py --out timeline.json

The script defines `pipe` (a pipeline or a transformer) and `run()`, which calls it once.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from typing import Callable, Optional, Sequence

import torch

from . import __version__
from .record import record
from .timeline import timeline


def indices(text: str) -> list[int]:
    """`0,3,5-8` as numbers; both ends of a range count."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m ditplan_capture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True)
    store = commands.add_parser("record", help="record keys and values as a trace directory")
    profile = commands.add_parser("timeline", help="record a kernel timeline")
    for command in (store, profile):
        command.add_argument("script", help="Python file that defines the pipeline and run()")
        command.add_argument("--out", required=True, help="what to write")
        command.add_argument("--object", default="pipe", help="name of the pipeline or transformer in the script [pipe]")
        command.add_argument("--run", default="run", help="name of the function that calls it [run]")
    for what in ("layers", "steps", "heads", "samples"):
        store.add_argument(f"--{what}", type=indices, help=f"{what} to store, as 0,3,5-8 [all]")
    store.add_argument("--tokens", type=indices, help="tokens to store, one range as 0-511 [all]")
    store.add_argument("--dtype", choices=["float16", "bfloat16", "float32"], help="type stored [the model's, or float16]")
    store.add_argument("--max-buffer-mib", type=int, default=256, help="host memory for copies under way, MiB [256]")
    store.add_argument("--no-stats", action="store_true", help="leave out norms and cosines")
    store.add_argument("--license", help="licence of the activations")
    store.add_argument("--overwrite", action="store_true", help="replace a trace that is there")
    store.add_argument("--compare", action="store_true", help="run without recording too, and note the overhead")
    return top


def load(script: str, names: Sequence[str]) -> list[object]:
    """What the script defines under `names`."""
    defined = runpy.run_path(script, run_name="ditplan_script")
    missing = [name for name in names if name not in defined]
    if missing:
        raise SystemExit(f"{script} defines no {' and no '.join(missing)}; see python -m ditplan_capture --help")
    return [defined[name] for name in names]


def store_trace(target: object, run: Callable[[], object], args: argparse.Namespace) -> None:
    """The command `record`."""
    options = {name: getattr(args, name) for name in ("layers", "steps", "heads", "samples", "license", "overwrite")}
    if args.tokens is not None:
        options["tokens"] = (args.tokens[0], args.tokens[-1] + 1)
    if args.dtype is not None:
        options["dtype"] = getattr(torch, args.dtype)
    limit = args.max_buffer_mib << 20
    with record(target, args.out, stats=not args.no_stats, max_buffer_bytes=limit, **options) as recorder:
        recorder.compare(run) if args.compare else run()
    manifest = recorder.writer.manifest
    size = sum(file["bytes"] for file in manifest["files"]) / 2**20
    extra = "" if recorder.overhead_pct is None else f", {recorder.overhead_pct:.1f} % slower than without"
    print(f"{args.out}: {manifest['state']}, {len(recorder.writer.done)} steps, {size:.1f} MiB{extra}")


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Runs the command given."""
    args = parser().parse_args(arguments)
    target, run = load(args.script, [args.object, args.run])
    if args.command == "record":
        store_trace(target, run, args)
    else:
        with timeline(target, args.out):
            run()
        print(f"{args.out}: written")


if __name__ == "__main__":
    main(sys.argv[1:])
