"""Measures the machine found: attention, matrix products, copies, blocks, memory-bound work, launching, interference.

    python -m ditplan_capture.calibrate --out PROFILE --device cuda
    python -m ditplan_capture.calibrate --out PROFILE --device cpu --toy --budget-s 30       # to try it out

Writes `profile.json` and a CSV file for each part (see tests/gpu/README.md). Points are measured in order of their
importance, so that a run stopped by --budget-s, Ctrl-C or a kill has the best; the same command continues it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Sequence

import torch

from .calibrate_parts import GROUPS, PARTS, Point, Setting, points
from .machine_profile import OtherDevice, Profile, system_name
from .manifest import device as describe_device
from .point_file import PointFile, WrongFile
from .stopwatch import Stopwatch

#: Profile saved at least so often [s].
SAVE_EVERY_S = 10.0


class Progress:
    """One line on stderr: points done and in all, time left."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done = total, done
        self._began, self._at_start = time.monotonic(), done
        self._live = sys.stderr.isatty()
        self._said = 0.0

    def step(self, words: str) -> None:
        """One more point is done."""
        self.done += 1
        now = time.monotonic()
        if not self._live and now - self._said < 5 and self.done < self.total:
            return
        self._said = now
        rate = (now - self._began) / max(1, self.done - self._at_start)
        text = f"{self.done}/{self.total} points, {(self.total - self.done) * rate:.0f} s left: {words}"
        print(f"\r\x1b[K{text}" if self._live else text, end="" if self._live else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._live:
            print(file=sys.stderr)


class Stop:
    """Set by Ctrl-C or a kill: the point under way is finished, then the run ends."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def run(out: Path, setting: Setting, wanted: Sequence[str], budget_s: float, command: str) -> str:
    """Measures what is missing in `out`; why it ended: "complete", "budget" or "stopped"."""
    profile = Profile(out, setting.stopwatch.device, command)
    files: dict[str, PointFile] = {}
    try:
        files = {part.name: PointFile(out / part.file, part.key, part.rest) for part in PARTS if part.name in wanted}
        todo = points(setting, wanted)
        missing = [point for point in todo if point.key not in files[point.part]]
        return _measure(profile, files, todo, missing, time.monotonic() + budget_s)
    finally:
        for file in files.values():
            file.close()
        profile.close()


def _measure(profile: Profile, files: dict[str, PointFile], todo: list[Point], missing: list[Point], until: float) -> str:
    progress, stop, saved, why = Progress(len(todo), len(todo) - len(missing)), Stop(), time.monotonic(), "complete"
    left = {part: 0 for part in files} | _count(missing)
    for part, count in left.items():
        profile.part(part, count == 0)
    profile.save()
    for point in missing:
        if stop.asked or time.monotonic() > until:
            why = "stopped" if stop.asked else "budget"
            break
        try:
            files[point.part].add(point.key, point.measure())
            left[point.part] -= 1
        except (RuntimeError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()[0][:160]
            profile.note(f"not measured: {point.words}: {reason}")
            torch.cuda.empty_cache() if torch.cuda.is_available() else None
        profile.part(point.part, left[point.part] == 0)
        progress.step(point.words)
        if time.monotonic() - saved > SAVE_EVERY_S:
            profile.save()
            saved = time.monotonic()
    progress.end()
    return why


def _count(missing: list[Point]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for point in missing:
        counts[point.part] = counts.get(point.part, 0) + 1
    return counts


def parts_of(text: str) -> list[str]:
    """The parts of a comma-separated list."""
    known = [part.name for part in PARTS]
    names = [name for word in text.split(",") for name in GROUPS.get(word, (word,))]
    for name in names:
        if name not in known:
            raise ValueError(f"part `{name}`: known are {', '.join(known)}")
    return names


def open_device(name: str) -> torch.device:
    """The device, if it can be used."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no CUDA device here; give --device cpu to try the program out")
    return torch.device(name)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of the profile; one that is there is continued")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--parts", default=",".join(part.name for part in PARTS), help="which, separated by commas")
    parser.add_argument("--toy", action="store_true", help="tiny shapes, to try the program out")
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="seconds after which no point is begun")
    parser.add_argument("--no-compiled", action="store_true", help="leave out what torch.compile takes minutes for")
    args = parser.parse_args(arguments)
    try:
        device, wanted = open_device(args.device), parts_of(args.parts)
        if device.type == "cpu" and args.toy:
            torch.set_num_threads(1)
        stopwatch = Stopwatch(device, *((2000.0, 5) if args.toy else ()))
        system = system_name(describe_device(device)["name"], device.type)
        setting = Setting(stopwatch, system, args.toy, device.type == "cuda" and not args.no_compiled)
        shown = "ditplan_capture.calibrate " + " ".join(
            ["--device", args.device, "--parts", args.parts] + ["--toy"] * args.toy + ["--no-compiled"] * args.no_compiled
        )
        with torch.no_grad():
            why = run(args.out, setting, wanted, args.budget_s, shown)
    except (ValueError, OtherDevice, WrongFile, OSError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        sys.exit(2)
    endings = {"complete": "complete", "budget": "partial: --budget-s is used up", "stopped": "partial: it was stopped"}
    print(f"{args.out}: {endings[why]}" + ("" if why == "complete" else "; the same command continues it"))
    sys.exit(130 if why == "stopped" else 0)


if __name__ == "__main__":
    main()
