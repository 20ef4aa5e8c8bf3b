"""A CSV file of measured points that grows line by line and continues where it stopped.

Guarantees: a point's line is on disk before the next is measured; a last line that was cut short is dropped when the
file is opened again; a point whose key columns stand in the file is not measured twice.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Iterator, Sequence

#: Columns after the key of a point: median of repeats, their number, 10th and 90th percentile.
TIMES = ("latency_us", "repeats", "p10_us", "p90_us")


class WrongFile(ValueError):
    """A file that is not one of these points."""


def line(values: Sequence[object]) -> str:
    """One CSV line; times with 6 significant digits."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([f"{x:.6g}" if isinstance(x, float) else x for x in values])
    return out.getvalue()


class PointFile:
    """Points with the columns `key` and then `rest`; open until `close`."""

    def __init__(self, path: Path, key: Sequence[str], rest: Sequence[str] = TIMES) -> None:
        self.path, self.key, self.columns = path, tuple(key), (*key, *rest)
        self.done = set()
        self.done = {tuple(row[: len(key)]) for row in self._whole_rows()} if path.exists() else set()
        self._file = open(path, "a", newline="")
        if self._file.tell() == 0:
            self._append(self.columns)

    def __contains__(self, key: Sequence[object]) -> bool:
        return tuple(str(value) for value in key) in self.done

    def add(self, key: Sequence[object], rest: Sequence[object]) -> None:
        """Writes one point and waits until it is on disk."""
        assert len(key) + len(rest) == len(self.columns), f"{self.path.name}: a point has {len(self.columns)} values"
        self._append([*key, *rest])
        self.done.add(tuple(str(value) for value in key))

    def close(self) -> None:
        self._file.close()

    def _append(self, values: Sequence[object]) -> None:
        self._file.write(line(values))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _whole_rows(self) -> list[list[str]]:
        """All rows; a torn last line is cut off the file."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        rows = list(csv.reader(io.StringIO(whole.decode())))
        if rows and tuple(rows[0]) != self.columns:
            raise WrongFile(f"{self.path}: its columns are {','.join(rows[0])}, not {','.join(self.columns)}; give an empty --out")
        if len(whole) < len(content):
            with open(self.path, "rb+") as file:
                file.truncate(len(whole))
        return rows[1:]


def read(path: Path) -> Iterator[dict[str, str]]:
    """The points of a file."""
    with open(path, newline="") as file:
        yield from csv.DictReader(file)
