"""The compressors: sizes equal the published vectors, hostile inputs, and what each guarantees of its error."""

import pytest
import torch

from ditplan_capture.codecs import codec, pack, reconstruct, to_half_up
from ditplan_capture.lowrank import orthonormal, splitmix64, start

PALETTE = ["1bit", "2bit", "2bit-fitted", "int8", "int4", "fp8", "lowrank(3)", "lowrank-int4(4)", "sparse(1:8)", "sparse(1:2)"]

# reference/compressors.md section 2: FLUX.1-dev on 4 ranks, CogVideoX-2b on 6 ranks.
SIZES = [
    ("1bit", 426_112, 1_419_540),
    ("2bit", 843_904, 2_823_540),
    ("lowrank(8)", 66_560, 124_320),
    ("lowrank-int4(32)", 66_816, 124_576),
    ("sparse(1:8)", 1_044_480, 3_510_000),
]


@pytest.mark.parametrize("name,flux,cog", SIZES)
def test_sizes_are_the_published_ones(name, flux, cog):
    assert codec(name).message_bytes(1088, 3072) == flux
    assert codec(name).message_bytes(5850, 1920) == cog


@pytest.mark.parametrize("name", PALETTE)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 64), (7, 65), (66, 128), (2, 130)])
def test_wire_is_as_long_as_its_closed_form(name, shape):
    r = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    c = codec(name)
    assert len(c.wire(c.encode(r))) == c.message_bytes(*shape)
    assert reconstruct(c, r).shape == r.shape


@pytest.mark.parametrize("name", PALETTE)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (66, 128)])
def test_zero_stays_zero(name, shape):
    assert torch.equal(reconstruct(codec(name), torch.zeros(shape)).abs(), torch.zeros(shape))


@pytest.mark.parametrize("name", PALETTE)
@pytest.mark.parametrize("scale", [1e-7, 1.0, 6e4])
def test_constant_and_extreme_inputs_stay_finite(name, scale):
    assert torch.isfinite(reconstruct(codec(name), torch.full((5, 9), scale))).all()
    assert torch.isfinite(reconstruct(codec(name), torch.randn(5, 9) * scale)).all()


@pytest.mark.parametrize("name", PALETTE)
def test_a_batch_is_its_members(name):
    r = torch.randn(2, 3, 6, 10, generator=torch.Generator().manual_seed(2))
    whole, c = reconstruct(codec(name), r), codec(name)
    for i in range(2):
        for j in range(3):
            assert torch.allclose(whole[i, j], reconstruct(c, r[i, j]), atol=2e-6)


@pytest.mark.parametrize("name", ["1bit", "2bit", "2bit-fitted", "lowrank(3)", "lowrank-int4(4)", "sparse(1:8)", "int4", "int8", "fp8"])
def test_every_compressor_contracts_on_gaussian_residuals(name):
    r = torch.randn(66, 128, generator=torch.Generator().manual_seed(3))
    assert (r - reconstruct(codec(name), r)).norm() < r.norm()


def contraction(name: str, r: torch.Tensor) -> float:
    return 1 - float((r - reconstruct(codec(name), r)).square().sum() / r.square().sum())


def test_gaussian_contractions_are_those_of_the_theory():
    r = torch.randn(512, 512, generator=torch.Generator().manual_seed(4))
    assert contraction("1bit", r) == pytest.approx(2 / torch.pi, abs=5e-3)
    assert contraction("2bit", r) == pytest.approx(0.852, abs=5e-3)
    assert contraction("2bit-fitted", r) == pytest.approx(0.88, abs=5e-3)


def test_integers_never_clip():
    r = torch.randn(9, 70, generator=torch.Generator().manual_seed(5))
    for name, top in [("int8", 127), ("int4", 7)]:
        parts = codec(name).encode(r)
        step = parts["scale"].float().repeat_interleave(64, -1)[:, :70]
        assert ((r - reconstruct(codec(name), r)).abs() <= step / 2 * (1 + 1e-6)).all()
        assert parts["codes"].abs().max() <= top


def test_a_half_rounded_up_is_not_below():
    x = torch.rand(10_000, generator=torch.Generator().manual_seed(6)) * 1e-3
    up = to_half_up(x)
    assert (up.float() >= x).all() and (up.float() - x <= x * 2**-10 + 2**-24).all()


def test_bits_are_packed_lowest_first_and_padded():
    assert pack(torch.tensor([[1, 0, 0, 0, 0, 0, 0, 0, 1]]), 1) == bytes([1, 1])
    assert pack(torch.tensor([1, 2, 3]), 4) == bytes([0x21, 0x03])


def test_one_bit_wire_of_a_small_matrix():
    # |R| = [[1, 3], [2, 6]]: v = (1.5, 4.5), t = (2, 4), g = 3, u = (2/3, 4/3).
    c = codec("1bit")
    parts = c.encode(torch.tensor([[1.0, -3.0], [-2.0, 6.0]]))
    expected = torch.tensor([2 / 3, 4 / 3, 1.5, 4.5]).half().numpy().tobytes()
    assert c.wire(parts) == bytes([0b01, 0b10]) + expected


def test_sparse_keeps_the_first_of_equal_magnitudes():
    c = codec("sparse(1:4)")
    assert c.encode(torch.tensor([[1.0, -2.0, 2.0, 0.0]]))["codes"].item() == 1


def test_low_rank_is_exact_on_matrices_of_that_rank():
    g = torch.Generator().manual_seed(7)
    a = torch.randn(20, 3, generator=g) @ torch.randn(3, 30, generator=g)
    u, v = codec("lowrank(3)").factors(a)
    assert torch.allclose(u @ v, a, atol=1e-4)
    assert torch.allclose(u.mT @ u, torch.eye(3), atol=1e-5)


def test_gram_schmidt_gives_zeros_for_null_columns():
    a = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]])
    assert torch.equal(orthonormal(a)[:, 1], torch.zeros(3))


def test_the_start_is_the_shared_one():
    assert splitmix64(0) == 0xE220A8397B1DCDAF
    assert start(4, 2).flatten().tolist()[0] == -1.0


def test_unknown_names_say_what_is_known():
    with pytest.raises(ValueError, match="known are"):
        codec("3bit")
