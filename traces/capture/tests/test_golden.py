"""Wire bytes that other implementations must reproduce: golden/wire.json.

Written by `python tests/test_golden.py`. An entry: rows, channels, residual (float16 bits as hexadecimal, row by
row, little endian), and the message's bytes by compressor. Low-rank factors depend on the order of sums: left out.
"""

import json
from pathlib import Path

import pytest
import torch

from ditplan_capture.codecs import codec

FILE = Path(__file__).parent / "golden" / "wire.json"
NAMES = ("1bit", "2bit", "2bit-fitted", "int8", "int4", "fp8", "sparse(1:8)", "sparse(1:4)")
SHAPES = ((1, 1), (3, 5), (2, 64), (4, 70), (6, 24))


def entries() -> list[dict]:
    result = []
    for i, (rows, channels) in enumerate(SHAPES):
        x = torch.randn(rows, channels, generator=torch.Generator().manual_seed(i)) * 0.1
        x[:, 0] *= 8
        x = (x * 1024).round() / 1024
        if rows > 3:
            x[1] = 0.0
        x = x.half()
        wires = {n: codec(n).wire(codec(n).encode(x.float())).hex() for n in NAMES}
        result.append({"rows": rows, "channels": channels, "residual": x.numpy().astype("<f2").tobytes().hex(), "messages": wires})
    return result


@pytest.mark.parametrize("index", range(len(SHAPES)))
def test_messages_are_the_golden_ones(index):
    golden = json.loads(FILE.read_text())[index]
    bits = bytearray.fromhex(golden["residual"])
    x = torch.frombuffer(bits, dtype=torch.float16).view(golden["rows"], golden["channels"]).float()
    for name, message in golden["messages"].items():
        assert codec(name).wire(codec(name).encode(x)).hex() == message, name


if __name__ == "__main__":
    FILE.write_text(json.dumps(entries(), indent=1) + "\n")
