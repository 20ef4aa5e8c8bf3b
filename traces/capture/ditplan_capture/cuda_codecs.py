"""The repository's CUDA kernels (`kernels/cuda/*.cu`) as compressors of virtual ranks, loaded through CuPy.

A source is `common.cuh` and then one file, compiled for one type of activation and a float16 base. Launches are those
of `kernels/src/cuda/geometry.rs`; the rows of a block are read from the sources' own `#define`s. Before a compressor is
used, its message and bases are compared with the PyTorch codec's on random numbers; one that differs is `Unavailable`.
The low-rank compressors have no kernels here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, Sequence

import torch
from torch import Tensor

from .codecs import codec as codec_named
from .wire_codec import TorchWire, WireCodec

TILE_CHANNELS, TILE_THREADS, OCTET = 256, 256, 8
#: Blocks a multiprocessor gets in the sums of `sign.cu`.
SUM_BLOCKS = 8
#: Compressor -> (file, encode's entries, decode's entry).
ENTRIES = {
    "1bit": ("sign", ("1bit_encode_1", "1bit_encode_2"), "1bit_decode_1"),
    "2bit": ("sign", ("2bit_encode_1", "2bit_encode_2"), "2bit_decode_1"),
    "2bit-fitted": ("sign", ("2bit_encode_1", "2bit_fitted_encode_2", "2bit_fitted_encode_3"), "2bit_fitted_decode_1"),
    "int8": ("integer", ("int8_encode_1",), "int8_decode_1"),
    "int4": ("integer", ("int4_encode_1",), "int4_decode_1"),
    "fp8": ("fp8", ("fp8_encode_1",), "fp8_decode_1"),
    "sparse": ("sparse", ("sparse_encode_1",), "sparse_decode_1"),
}
ACTIVATIONS = {torch.bfloat16: "bf16", torch.float16: "f16"}
#: How far the kernels' new base may be from the PyTorch codec's, relative to the residual: sums in another order, the
#: residual rounded to the activation's type.
AGREEMENT = 2e-2


class Unavailable(RuntimeError):
    """Why the kernels cannot be used here, in one clause."""


@dataclass(frozen=True)
class Launch:
    """One launch: entry point without `ditplan_` and the types, grid (x, y), threads, shared bytes, `option`."""

    entry: str
    grid: tuple[int, int]
    threads: int
    shared: int = 0
    option: int = 0


class Launcher(Protocol):
    """Starts kernels in order on the current stream."""

    multiprocessors: int

    def launch(self, file: str, suffix: str, launch: Launch, pointers: Sequence[int], numbers: Sequence[int]) -> None: ...


def sources() -> Path:
    """The folder of the kernels: DITPLAN_KERNELS, or the checkout's."""
    given = os.environ.get("DITPLAN_KERNELS")
    return Path(given) if given else Path(__file__).resolve().parents[3] / "kernels" / "cuda"


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@lru_cache(maxsize=None)
def defines(file: Path) -> dict[str, int]:
    """The numbers that a source defines."""
    found = re.findall(r"^#define (\w+) (\d+)\s*$", file.read_text(), re.MULTILINE)
    return {name: int(value) for name, value in found}


@dataclass(frozen=True)
class Geometry:
    """Launches of a compressor for a matrix of rows x channels, by the constants of the sources in `folder`."""

    folder: Path
    name: str
    rows: int
    channels: int
    multiprocessors: int

    @property
    def family(self) -> str:
        return "sparse" if self.name.startswith("sparse") else self.name

    @property
    def file(self) -> str:
        return ENTRIES[self.family][0]

    @property
    def tiles(self) -> int:
        return ceil_div(self.channels, TILE_CHANNELS)

    def _defines(self) -> dict[str, int]:
        return defines(self.folder / f"{self.file}.cu")

    @property
    def _strip(self) -> int:
        """Rows of a block."""
        found = self._defines()
        return found["WARPS"] * found["WARP_ROWS"]

    @property
    def strips(self) -> int:
        """Strips of rows that a block of the sums goes through."""
        count = ceil_div(self.rows, self._strip)
        return max(1, min(count, self.tiles * count // max(1, SUM_BLOCKS * self.multiprocessors)))

    def encode(self) -> list[Launch]:
        entries = ENTRIES[self.family][1]
        if self.file != "sign":
            return [self._single(entries[0], encode=True)]
        found, strips = self._defines(), self.strips
        last_rows = self._strip if self.name == "1bit" else found["WARPS"] * found["CODE_ROWS"]
        sums = [Launch(entry, (self.tiles, ceil_div(self.rows, self._strip * strips)), TILE_THREADS, 0, strips) for entry in entries[:-1]]
        return [*sums, Launch(entries[-1], (self.tiles, ceil_div(self.rows, last_rows)), TILE_THREADS)]

    def decode(self) -> list[Launch]:
        return [self._single(ENTRIES[self.family][2], encode=False)]

    def _single(self, entry: str, encode: bool) -> Launch:
        if self.file in ("sign", "integer"):
            return Launch(entry, (self.tiles, ceil_div(self.rows, self._strip)), TILE_THREADS)
        octets = ceil_div(self.channels, OCTET)
        rounds = ceil_div(octets, self._defines()["MOST_THREADS"])
        threads = ceil_div(ceil_div(octets, rounds), 32) * 32
        if self.file == "fp8":
            return Launch(entry, (self.rows, 1), threads)
        pair, block = self._defines()["PAIR"], codec_named(self.name).block
        shared = pair * ceil_div(self.channels, block) if encode else 0
        return Launch(entry, (ceil_div(self.rows, pair), 1), threads, shared, block)

    def work_bytes(self) -> int:
        """Scratch memory, zeroed before its first use; `Work` of sign.cu."""
        if self.file != "sign":
            return 16
        row_tiles = ceil_div(self.rows, self._strip * self.strips)
        counters, sums = ceil_div(self.tiles + 1, 4) * 16, ceil_div(self.tiles, 2) * 16
        parts = ceil_div(self.rows, 4) * 16 * self.tiles + row_tiles * self.tiles * TILE_CHANNELS * 4
        return counters + sums + 2 * self._defines()["BINS"] * 8 + parts


class CudaWire:
    """A compressor of the repository's kernels; x is float16 or bfloat16, bases float16."""

    implementation = "cuda kernels"

    def __init__(self, name: str, dtype: torch.dtype, launcher: Launcher, folder: Path) -> None:
        self.name, self._suffix, self._launcher, self._folder = name, f"{ACTIVATIONS[dtype]}_f16", launcher, folder
        self._codec = codec_named(name)
        self._work: dict[tuple[int, int], Tensor] = {}

    def message_bytes(self, rows: int, channels: int) -> int:
        return self._codec.message_bytes(rows, channels)

    def encode(self, x: Tensor, base: Tensor) -> Tensor:
        message = torch.empty(self.message_bytes(*x.shape), dtype=torch.uint8, device=x.device)
        self._run(x.contiguous(), base, message, self._geometry(base).encode())
        return message

    def decode(self, message: Tensor, base: Tensor) -> None:
        self._run(None, base, message, self._geometry(base).decode())

    def _geometry(self, base: Tensor) -> Geometry:
        return Geometry(self._folder, self.name, *base.shape, self._launcher.multiprocessors)

    def _run(self, x: Tensor | None, base: Tensor, message: Tensor, launches: list[Launch]) -> None:
        shape, geometry = tuple(base.shape), self._geometry(base)
        if shape not in self._work:
            self._work[shape] = torch.zeros(geometry.work_bytes() + 64, dtype=torch.uint8, device=base.device)
        pointers = [0 if x is None else x.data_ptr(), base.data_ptr(), 0, message.data_ptr(), self._work[shape].data_ptr()]
        for launch in launches:
            self._launcher.launch(geometry.file, self._suffix, launch, pointers, [*shape, launch.option, 0])


class CupyLauncher:
    """Compiles the sources with NVRTC through CuPy and launches on PyTorch's current stream."""

    def __init__(self, folder: Path) -> None:
        try:
            import cupy
        except ImportError as error:
            raise Unavailable("CuPy is not installed") from error
        self._cupy, self._folder, self._modules = cupy, folder, {}
        self.multiprocessors = torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count

    def launch(self, file: str, suffix: str, launch: Launch, pointers: Sequence[int], numbers: Sequence[int]) -> None:
        import numpy

        function = self._module(file, suffix).get_function(f"ditplan_{launch.entry}_{suffix}")
        arguments = (*(numpy.uint64(p) for p in pointers), *(numpy.int32(n) for n in numbers))
        with self._cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            function((*launch.grid, 1), (launch.threads, 1, 1), arguments, shared_mem=launch.shared)

    def _module(self, file: str, suffix: str) -> object:
        if (file, suffix) not in self._modules:
            activation, base = suffix.split("_")
            common, own = ((self._folder / name).read_text() for name in ("common.cuh", f"{file}.cu"))
            options = (f"-DDITPLAN_ACTIVATION={activation}", f"-DDITPLAN_BASE={base}")
            self._modules[file, suffix] = self._cupy.RawModule(code=f'{common}\n#line 1 "{file}.cu"\n{own}', options=options)
        return self._modules[file, suffix]


_launchers: dict[Path, Launcher] = {}


def cuda_wire(name: str, device: torch.device, dtype: torch.dtype) -> WireCodec:
    """The kernels of compressor `name` on `device`; `Unavailable` says why not."""
    if device.type != "cuda":
        raise Unavailable("kernels need a CUDA device")
    folder = sources()
    if not (folder / "common.cuh").exists():
        raise Unavailable("the checkout has no kernels/cuda")
    if folder not in _launchers:
        _launchers[folder] = CupyLauncher(folder)
    return checked(name, dtype, _launchers[folder], folder, device)


def checked(name: str, dtype: torch.dtype, launcher: Launcher, folder: Path, device: torch.device) -> CudaWire:
    """The compressor, once its kernels have agreed with the PyTorch codec."""
    family = "sparse" if name.startswith("sparse") else name
    if family not in ENTRIES or not (folder / f"{ENTRIES[family][0]}.cu").exists():
        raise Unavailable(f"there are no kernels of {name}")
    if dtype not in ACTIVATIONS:
        raise Unavailable(f"the kernels take float16 and bfloat16, not {str(dtype).removeprefix('torch.')}")
    wire = CudaWire(name, dtype, launcher, folder)
    try:
        far = disagreement(wire, TorchWire(name), dtype, device)
    except (KeyError, RuntimeError, OSError) as error:
        raise Unavailable(f"the kernels of {name} do not run: {str(error).strip().splitlines()[0][:120]}") from error
    except Exception as error:  # CuPy's compile errors derive from Exception only.
        raise Unavailable(f"the kernels of {name} do not load: {str(error).strip().splitlines()[0][:120]}") from error
    if not far <= AGREEMENT:
        raise Unavailable(f"the kernels of {name} differ from the PyTorch codec by {far:.1e} of the residual")
    return wire


def disagreement(wire: WireCodec, reference: WireCodec, dtype: torch.dtype, device: torch.device) -> float:
    """How far the sender's and a receiver's new base are from the reference's, relative to the residual."""
    draw = torch.Generator().manual_seed(5)
    x, start = torch.randn(99, 328, generator=draw), torch.randn(99, 328, generator=draw)
    x, start = x.to(device, dtype), start.to(device, torch.float16)
    sender, receiver, expected = start.clone(), start.clone(), start.clone()
    reference.encode(x, expected)
    wire.decode(wire.encode(x, sender), receiver)
    residual = (x.float() - start.float()).norm()
    return max(float((base.float() - expected.float()).norm() / residual) for base in (sender, receiver))
