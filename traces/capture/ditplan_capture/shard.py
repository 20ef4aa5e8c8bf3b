"""One step's safetensors file, written piece by piece with the header last, so that no step need fit in memory.

```text
| u64 length | header, padded with spaces | layers.0.k | layers.0.v | layers.1.k | ...
              reserved when opened          appended as the model runs
```

Guarantees: the file appears under its own name only when it is whole and on disk (temporary name, fsync, rename);
a tensor that arrives in several parts (several calls of the model in a step) lies in one piece, parts in order.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import torch

#: safetensors' word for a stored type.
DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
#: Header bytes reserved for a tensor: its name, type, shape and two offsets; measured at most 130.
HEADER_BYTES_PER_TENSOR = 192
#: Bytes copied at a time where parts must be reordered.
COPY_BYTES = 1 << 20


@dataclass
class _Tensor:
    """Parts of one tensor in the file: (offset, bytes); `rows` counts the first dimension [samples]."""

    dtype: torch.dtype
    tail: tuple[int, ...]
    rows: int = 0
    parts: list[tuple[int, int]] = field(default_factory=list)


def sync_directory(path: Path) -> None:
    """Makes renames in `path` survive a crash of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` under a temporary name, syncs and renames: `path` is old or new, never half."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal, read in bounded memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file) -> str:
    digest = hashlib.sha256()
    while block := file.read(COPY_BYTES):
        digest.update(block)
    return digest.hexdigest()


class ShardFile:
    """A step's tensors [samples, tokens, heads, head_dim] on their way to `path`."""

    def __init__(self, path: Path, step: int, tensors: int) -> None:
        """Opens `path`.tmp with header room for `tensors` tensors of 0-based `step`."""
        self.path = path
        self.step = step
        self._temporary = path.with_name(path.name + ".tmp")
        self._reserved = -(-(256 + HEADER_BYTES_PER_TENSOR * tensors) // 64) * 64 - 8
        self._file = open(self._temporary, "wb+")
        self._file.write(b"\0" * (8 + self._reserved))
        self._end = 0
        self._tensors: dict[str, _Tensor] = {}
        self._open: Optional[str] = None

    def begin(self, name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        """Starts a part of tensor `name`: `shape` is [samples of this part, tokens, heads, head_dim]."""
        tensor = self._tensors.setdefault(name, _Tensor(dtype, tuple(shape[1:])))
        if tensor.tail != tuple(shape[1:]) or tensor.dtype != dtype:
            raise ValueError(
                f"step {self.step}, {name}: a part of shape {list(shape)} follows one of {[-1, *tensor.tail]}; "
                "record one branch only with samples=[...]"
            )
        tensor.rows += shape[0]
        tensor.parts.append((self._end, 0))
        self._open = name

    def append(self, name: str, content: memoryview) -> None:
        """Adds bytes to the part last begun, which must be of tensor `name`."""
        assert self._open == name, f"bytes of {name} arrive inside {self._open}"
        parts = self._tensors[name].parts
        offset, length = parts[-1]
        self._file.write(content)
        parts[-1] = (offset, length + len(content))
        self._end += len(content)

    def rows(self) -> dict[str, int]:
        """Samples held by each tensor."""
        return {name: tensor.rows for name, tensor in self._tensors.items()}

    def finish(self) -> int:
        """Writes the header, syncs, renames; the size of the file in bytes."""
        if any(len(tensor.parts) > 1 for tensor in self._tensors.values()):
            self._reorder()
        header = self._header()
        assert len(header) <= self._reserved, f"header of {len(header)} B in {self._reserved} B"
        self._file.seek(0)
        self._file.write(self._reserved.to_bytes(8, "little") + header.ljust(self._reserved))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self.path)
        sync_directory(self.path.parent)
        return 8 + self._reserved + self._end

    def discard(self) -> None:
        """Closes and removes the unfinished file."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _header(self) -> bytes:
        entries: dict[str, object] = {"__metadata__": {"step": str(self.step)}}
        for name, tensor in self._tensors.items():
            offset, length = tensor.parts[0]
            entries[name] = {
                "dtype": DTYPES[tensor.dtype],
                "shape": [tensor.rows, *tensor.tail],
                "data_offsets": [offset, offset + length],
            }
        return json.dumps(entries, separators=(",", ":")).encode()

    def _reorder(self) -> None:
        """Copies the parts of each tensor side by side into a second temporary file."""
        second = self._temporary.with_name(self._temporary.name + "2")
        start, written = 8 + self._reserved, 0
        with open(second, "wb+") as out:
            out.write(b"\0" * start)
            for tensor in self._tensors.values():
                begin = written
                for offset, length in tensor.parts:
                    self._file.seek(start + offset)
                    for at in range(0, length, COPY_BYTES):
                        out.write(self._file.read(min(COPY_BYTES, length - at)))
                    written += length
                tensor.parts = [(begin, written - begin)]
        self._file.close()
        os.replace(second, self._temporary)
        self._file = open(self._temporary, "rb+")
