"""Writes a trace directory in bounded memory, from a background thread, readable at every moment.

```text
put(step, layer, "k", x) ──▶ host copy (waits while max_buffer_bytes are under way) ──▶ thread ──▶ kv-....tmp
end_step(step) ───────────▶ header, fsync, rename ──▶ sha256 ──▶ manifest.json rewritten ("partial")
close() ──────────────────▶ stats.csv.gz ──▶ manifest.json ("complete" if every announced step is there)
```

Guarantees:
1. manifest.json names only whole shards; a killed process leaves it "partial" with the steps finished until then.
2. At most `max_buffer_bytes` of copied activations exist at once (`peak_buffer_bytes` says how much it came to).
3. An error of the thread (full disk, non-finite value) is raised by the next call of `put`, `end_step` or `close`.
On CUDA, copies run on a side stream into pinned memory; tested on the CPU only.
"""

from __future__ import annotations

import gzip
import json
import queue
import shutil
import threading
from pathlib import Path
from typing import Callable, Optional, Sequence

import torch
from torch import Tensor

from .shard import DTYPES, ShardFile, sha256, write_atomically
from .statistics import HEADER


class HostCopies:
    """Copies of device tensors in host memory, with a bound on what is alive at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.alive = 0
        self.peak = 0
        self._freed = threading.Condition()
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def copy(self, x: Tensor, give_up: Callable[[], None]) -> tuple[Tensor, Optional[torch.cuda.Event]]:
        """A host copy of contiguous x, once the bound allows it; `give_up` raises to stop the wait."""
        size = x.numel() * x.element_size()
        assert size <= self.limit, "pieces are cut to fit"
        with self._freed:
            while self.alive + size > self.limit:
                give_up()
                self._freed.wait(timeout=0.2)
            self.alive += size
            self.peak = max(self.peak, self.alive)
        if x.device.type != "cuda":
            return torch.empty(x.shape, dtype=x.dtype).copy_(x), None
        return self._copy_from_cuda(x)

    def _copy_from_cuda(self, x: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        side = self._streams.setdefault(x.device, torch.cuda.Stream(x.device))
        side.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(side):
            host = torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record(side)
        x.record_stream(side)
        return host, copied

    def release(self, size: int) -> None:
        """`size` bytes are written and forgotten."""
        with self._freed:
            self.alive -= size
            self._freed.notify_all()


class TraceWriter:
    """A trace under way. Shards are numbered in the order of `steps`, 0-based step numbers of the sampler."""

    def __init__(
        self,
        path: str | Path,
        manifest: dict,
        steps: Sequence[int],
        *,
        tensors_per_step: int,
        max_buffer_bytes: int = 256 << 20,
        overwrite: bool = False,
    ) -> None:
        """`manifest` holds model, sampler, samples, recorded and so on; format, state and files are added here."""
        self.path = prepare_directory(Path(path), overwrite)
        self.steps = list(steps)
        head = {"format": "ditplan-trace", "version": 1, "state": "partial"}
        timing = {"wall_s": None, "plain_wall_s": None, "overhead_pct": None, "peak_buffer_bytes": None}
        self.manifest = {**head, "capture": timing, **manifest, "files": []}
        self._tensors_per_step = tensors_per_step
        self._copies = HostCopies(max_buffer_bytes)
        self._statistics: list[bytes] = []
        self._error: Optional[BaseException] = None
        self._shard: Optional[ShardFile] = None
        self._closed = False
        self._write_manifest()
        self._queue: queue.Queue = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="trace writer", daemon=True)
        self._thread.start()

    @property
    def peak_buffer_bytes(self) -> int:
        """The most bytes of copied activations that were alive at once."""
        return self._copies.peak

    @property
    def done(self) -> list[int]:
        """Steps whose shards are whole and listed."""
        return [file["step"] for file in self.manifest["files"] if "step" in file]

    def put(self, step: int, layer: int, tensor: str, x: Tensor) -> None:
        """Takes x [samples, tokens, heads, head_dim] as `layers.{layer}.{tensor}` of `step`; x may change afterwards."""
        if x.dtype not in DTYPES:
            raise ValueError(f"a trace stores {[str(dtype) for dtype in DTYPES]}, not {x.dtype}")
        if step not in self.steps:
            raise ValueError(f"step {step} is not among the steps announced: {self.steps}")
        name = f"layers.{layer}.{tensor}"
        rows = x.detach().reshape(x.shape[0] * x.shape[1], -1)
        row_bytes = rows.shape[1] * rows.element_size()
        piece = max(1, self._copies.limit // 4 // row_bytes)
        if row_bytes > self._copies.limit:
            raise ValueError(f"max_buffer_bytes={self._copies.limit} is less than one token of {name}: {row_bytes} B")
        self._send("begin", step, name, x.dtype, tuple(x.shape))
        for start in range(0, rows.shape[0], piece):
            part = rows[start : start + piece].contiguous()
            self._send("bytes", step, name, start, tuple(x.shape), *self._copies.copy(part, self._raise))

    def end_step(self, step: int, statistics: str = "", samples: Optional[list[dict]] = None) -> None:
        """`step` has no more tensors: its shard is finished, `statistics` (CSV lines) are added."""
        self._send("end", step, statistics, samples)

    def flush(self) -> None:
        """Waits until everything handed over is on disk."""
        self._queue.join()
        self._raise()

    def close(self, *, failed: bool = False, capture: Optional[dict] = None) -> str:
        """Finishes; the state written: "complete" if nothing failed and every announced step is there."""
        if not self._closed:
            self._closed = True
            self._queue.put(("stop",))
            self._thread.join()
            self._finish(failed, capture or {})
        if not failed:
            self._raise()
        return self.manifest["state"]

    def _finish(self, failed: bool, capture: dict) -> None:
        if self._shard is not None:
            self._shard.discard()
        if self._statistics:
            write_atomically(self.path / "stats.csv.gz", b"".join(self._statistics))
            self._list_file("stats.csv.gz")
        whole = not failed and self._error is None and self.done == self.steps
        self.manifest["state"] = "complete" if whole else "partial"
        self.manifest["capture"] = {
            **self.manifest["capture"], **capture, "peak_buffer_bytes": self.peak_buffer_bytes,
        }
        self._write_manifest()

    def _send(self, *message: object) -> None:
        self._raise()
        self._queue.put(message)

    def _raise(self) -> None:
        if self._error is not None:
            raise RuntimeError(f"{self.path}: the trace could not be written: {self._error}") from self._error

    def _work(self) -> None:
        while True:
            message = self._queue.get()
            try:
                if message[0] == "stop":
                    return
                if self._error is None:
                    getattr(self, "_on_" + message[0])(*message[1:])
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread by _raise
                self._error = error
            finally:
                if message[0] == "bytes":
                    self._copies.release(message[5].numel() * message[5].element_size())
                del message
                self._queue.task_done()

    def _on_begin(self, step: int, name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        if self._shard is None:
            number = self.steps.index(step) + 1
            file = self.path / f"kv-{number:05}-of-{len(self.steps):05}.safetensors"
            self._shard = ShardFile(file, step, self._tensors_per_step)
        assert self._shard.step == step, f"step {step} begins before step {self._shard.step} has ended"
        self._shard.begin(name, dtype, shape)

    def _on_bytes(self, step, name, row, shape, host: Tensor, copied: Optional[torch.cuda.Event]) -> None:
        if copied is not None:
            copied.synchronize()
        finite = torch.isfinite(host)
        if not finite.all():
            element = row * host.shape[1] + int((~finite.flatten()).nonzero()[0])
            index = [int(i) for i in torch.unravel_index(torch.tensor(element), shape)]
            raise ValueError(
                f"step {step}, {name}: element {index} of [sample, token, head, channel] is not finite as stored; "
                "if the model's own values are finite, record with dtype=torch.bfloat16"
            )
        self._shard.append(name, memoryview(host.view(torch.uint8).numpy()).cast("B"))

    def _on_end(self, step: int, statistics: str, samples: Optional[list[dict]]) -> None:
        if statistics:
            head = HEADER if not self._statistics else ""
            self._statistics.append(gzip.compress((head + statistics).encode(), 6, mtime=0))
            write_atomically(self.path / "stats.csv.gz", b"".join(self._statistics))
        if samples is not None:
            self.manifest["samples"] = samples
        if self._shard is None:
            return
        counts = self._shard.rows()
        if len(counts) != self._tensors_per_step or len(set(counts.values())) != 1:
            raise ValueError(
                f"step {step} holds {len(counts)} of {self._tensors_per_step} tensors with {sorted(set(counts.values()))} "
                "samples; every layer must run equally often in a step"
            )
        self._shard.finish()
        name, self._shard = self._shard.path.name, None
        self._list_file(name, step)
        self._write_manifest()

    def _list_file(self, name: str, step: Optional[int] = None) -> None:
        file = self.path / name
        entry = {"name": name, "bytes": file.stat().st_size, "sha256": sha256(file)}
        self.manifest["files"].append(entry if step is None else {**entry, "step": step})

    def _write_manifest(self) -> None:
        content = json.dumps(self.manifest, indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.path / "manifest.json", content.encode())


def check_path(path: Path, overwrite: bool) -> None:
    """Refuses a directory that holds something, unless it is a trace and `overwrite` is given."""
    if path.exists() and any(path.iterdir()) and not (overwrite and (path / "manifest.json").exists()):
        raise FileExistsError(f"{path} exists; give another path, or overwrite=True for an earlier trace")


def prepare_directory(path: Path, overwrite: bool) -> Path:
    """An empty directory at `path`; an earlier trace there is removed if `overwrite` is given."""
    check_path(path, overwrite)
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path
