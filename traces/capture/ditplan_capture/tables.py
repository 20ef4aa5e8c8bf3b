"""runs.csv.gz: the closed-loop runs of a trace, one a line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .assignment import Assignment
from .closed_loop import geometric_mean
from .shard import sha256, write_atomically

if TYPE_CHECKING:
    from .campaign import Spec

COLUMNS = (
    "id", "split", "purpose", "prompts", "ranks", "steps", "strategy", "warmup", "assignment",
    "deviation", "deviations",
)


@dataclass(frozen=True)
class RunRow:
    """One finished run: `deviation` is the geometric mean of `deviations` (relative L2, one a sample)."""

    id: str
    split: str
    purpose: str
    prompts: str
    ranks: int
    steps: int
    strategy: str
    assignment: Assignment
    deviation: float
    deviations: tuple[float, ...]


def write_runs(path: Path, specs: "list[Spec]", done: dict[str, list[float]]) -> int:
    """Writes the runs that are done, in the order of `specs`; returns how many."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for s in specs:
        if s.id not in done:
            continue
        d = json.dumps([float(f"{x:.6g}") for x in done[s.id]], separators=(",", ":"))
        writer.writerow([
            s.id, s.split, s.purpose, s.prompts, s.how.ranks, s.how.steps, s.how.strategy, s.how.rules.warmup,
            s.assignment.to_json(s.how.rules), f"{geometric_mean(done[s.id]):.6g}", d,
        ])
        count += 1
    write_atomically(path, gzip.compress(text.getvalue().encode(), 9, mtime=0))
    return count


def list_file(trace: Path, name: str) -> None:
    """Puts a finished file of a trace directory, with its size and checksum, into the manifest."""
    manifest = json.loads((trace / "manifest.json").read_text())
    file = trace / name
    others = [f for f in manifest["files"] if f["name"] != name]
    manifest["files"] = [*others, {"name": name, "bytes": file.stat().st_size, "sha256": sha256(file)}]
    write_atomically(trace / "manifest.json", (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())


def read_runs(path: Path) -> list[RunRow]:
    """All runs of a trace."""
    with gzip.open(path, "rt", newline="") as file:
        return [
            RunRow(
                r["id"], r["split"], r["purpose"], r["prompts"], int(r["ranks"]), int(r["steps"]), r["strategy"],
                Assignment.from_json(r["assignment"]), float(r["deviation"]), tuple(json.loads(r["deviations"])),
            )
            for r in csv.DictReader(file)
        ]
