"""The CUDA kernels as compressors of virtual ranks: launches, refusals, and their bytes on the emulated GPU if it is built."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch

from ditplan_capture.cuda_codecs import CudaWire, Geometry, Launch, Unavailable, checked, cuda_wire, disagreement, sources
from ditplan_capture.wire_codec import TorchWire

CPU = torch.device("cpu")
EMULATED = sources() / "emulate" / "build"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sources with nothing but the numbers that launches need."""
    for name in ("sign", "integer", "fp8", "sparse"):
        lines = ["WARPS 8", "WARP_ROWS 4", "CODE_ROWS 2", "BINS 1024", "MOST_THREADS 256", "PAIR 2"]
        (tmp_path / f"{name}.cu").write_text("".join(f"#define {line}\n" for line in lines) + "#define STRIP (WARPS * WARP_ROWS)\n")
    return tmp_path


def test_launches_cover_the_matrix(folder):
    def geometry(name: str, rows: int = 4608, channels: int = 3072) -> Geometry:
        return Geometry(folder, name, rows, channels, 132)

    assert geometry("1bit").encode() == [Launch("1bit_encode_1", (12, 144), 256, 0, 1), Launch("1bit_encode_2", (12, 144), 256)]
    assert geometry("1bit", 36864).strips == 13 and geometry("2bit", 36864).encode()[0].grid == (12, 89)
    assert [launch.grid for launch in geometry("2bit-fitted").encode()] == [(12, 144), (12, 144), (12, 288)]
    assert geometry("int4", 33, 257).decode() == [Launch("int4_decode_1", (2, 2), 256)]
    assert geometry("fp8").encode() == [Launch("fp8_encode_1", (4608, 1), 192)]
    assert geometry("sparse(1:8)", 5, 64).encode() == [Launch("sparse_encode_1", (3, 1), 32, 16, 8)]
    assert geometry("int8").work_bytes() == 16 and geometry("1bit").work_bytes() > 144 * 12 * 256 * 4


class Silent:
    """A launcher whose kernels do nothing."""

    multiprocessors = 1

    def launch(self, *_: object) -> None:
        return


@pytest.mark.parametrize("name, dtype, sentence", [
    ("1bit", torch.bfloat16, "differ from the PyTorch codec by"),
    ("1bit", torch.float32, "take float16 and bfloat16, not float32"),
    ("lowrank(8)", torch.bfloat16, "there are no kernels of lowrank"),
])
def test_kernels_that_do_not_agree_are_not_used(folder, name, dtype, sentence):
    with pytest.raises(Unavailable, match=sentence):
        checked(name, dtype, Silent(), folder, CPU)


def test_a_processor_has_no_kernels():
    with pytest.raises(Unavailable, match="need a CUDA device"):
        cuda_wire("1bit", CPU, torch.bfloat16)


def test_another_codec_is_noticed():
    assert disagreement(TorchWire("int8"), TorchWire("int8"), torch.bfloat16, CPU) == 0.0
    assert disagreement(TorchWire("2bit"), TorchWire("1bit"), torch.bfloat16, CPU) > 0.2


class Emulated:
    """Launches on the emulated GPU of `kernels/cuda/emulate`."""

    multiprocessors = 4

    def __init__(self) -> None:
        self._driver = ctypes.CDLL(str(EMULATED / "libcuda.so"), mode=ctypes.RTLD_GLOBAL)
        self._kernels = {name: ctypes.CDLL(str(EMULATED / f"kernels_{name}.so")) for name in ("sign", "integer", "fp8", "sparse")}

    def launch(self, file, suffix, launch, pointers, numbers) -> None:
        function = ctypes.cast(getattr(self._kernels[file], f"ditplan_{launch.entry}_{suffix}"), ctypes.c_void_p)
        values = [ctypes.c_void_p(p or None) for p in pointers] + [ctypes.c_int(n) for n in numbers]
        array = (ctypes.c_void_p * len(values))(*[ctypes.cast(ctypes.pointer(value), ctypes.c_void_p) for value in values])
        assert self._driver.cuLaunchKernel(function, *launch.grid, 1, launch.threads, 1, 1, launch.shared, None, array, None) == 0


@pytest.mark.skipif(not (EMULATED / "libcuda.so").exists(), reason="kernels/cuda/emulate is not built (kernels/cuda/emulate/build.sh)")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["1bit", "2bit", "2bit-fitted", "int8", "int4", "fp8", "sparse(1:8)", "sparse(1:2)", "sparse(1:16)"])
def test_emulated_kernels_agree_with_the_codec(name, dtype):
    wire = checked(name, dtype, Emulated(), sources(), CPU)
    assert isinstance(wire, CudaWire) and wire.implementation == "cuda kernels"
