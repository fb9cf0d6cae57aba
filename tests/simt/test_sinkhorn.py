"""The Sinkhorn solver on the emulator: each variant at sizes around tiles and chunks, and groups of
blocks that share an image."""

from functools import partial

import numpy as np
import pytest
from simt import build, kernels, transport_cases, transport_kernels
from simt.expected import allowed, expected
from simt.transport_kernels import VARIANTS

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no host C++ compiler")

# A tile has 32 pixels, a chunk 8 tiles. Up to two tiles any device holds: resident alone.
SIZES = {"resident": (31, 32, 33, 64, 65)} | dict.fromkeys(VARIANTS[1:], ())
SIZES = {variant: (*small, 96, 97, 255, 256, 257, 513) for variant, small in SIZES.items()}
EPSILON = 0.1


def problem(images, pixels, dtype=np.float32, targets=3):
    return transport_cases.problem(np.random.default_rng(pixels), dtype, images, targets, pixels)


def solve(machine, arrays, variant, relaxations=transport_cases.BALANCED, iterations=2):
    return machine.sinkhorn(*arrays, EPSILON, iterations, 0.0, *relaxations, None, variant)


def bits(result, image):
    return [part[image].tobytes() for part in result]


@pytest.mark.parametrize(
    ("variant", "pixels"), [(variant, n) for variant, sizes in SIZES.items() for n in sizes]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sizes_around_tiles_and_chunks(variant, pixels, dtype):
    machine = kernels.Kernels("plain")
    assert machine.sinkhorn_variant(variant, 1, 3, pixels, dtype) == variant
    arrays = problem(1, pixels, dtype)
    for relaxations in (transport_cases.BALANCED, transport_cases.RELAXED):
        result = solve(machine, arrays, variant, relaxations)
        wanted = expected("sinkhorn")(*arrays, EPSILON, 2, 0.0, *relaxations, None, variant)
        for got, want in zip(result, wanted, strict=True):
            relative, absolute = allowed("sinkhorn", got, np.asarray(want))
            np.testing.assert_allclose(got, want, rtol=relative, atol=absolute)


@pytest.mark.parametrize("piece_tiles", [1, 3, 5, 8])
@pytest.mark.parametrize("flavour", ["plain", "race"])
def test_pieces_of_fewer_tiles_than_warps_are_shared(piece_tiles, flavour, monkeypatch):
    """Eight warps, the last piece of a chunk smaller, columns that no number of warps divides."""
    monkeypatch.setattr(
        transport_kernels,
        "shared_bytes_for",
        partial(transport_kernels.shared_bytes_for, piece_tiles=piece_tiles),
    )
    machine = kernels.Kernels(flavour)
    for targets, pixels in ((3, 257), (37, 200)):
        arrays = problem(2, pixels, targets=targets)
        if piece_tiles < 8:
            assert (
                machine.sinkhorn_variant("streaming", 2, targets, pixels, np.float32) == "streaming"
            )
        for relaxations in (transport_cases.BALANCED, transport_cases.RELAXED):
            result = solve(machine, arrays, "streaming", relaxations)
            wanted = expected("sinkhorn")(*arrays, EPSILON, 2, 0.0, *relaxations, None, "streaming")
            for got, want in zip(result, wanted, strict=True):
                relative, absolute = allowed("sinkhorn", got, np.asarray(want))
                np.testing.assert_allclose(got, want, rtol=relative, atol=absolute)


@pytest.mark.parametrize("targets", [3, 41])  # from 40 on blocks divide the sums over chunks
@pytest.mark.parametrize("variant", VARIANTS)
def test_same_bits_however_many_blocks_share_an_image(variant, targets):
    machine = kernels.Kernels("plain")
    arrays = problem(1, 1300, targets=targets)  # 6 chunks, the last of 20 pixels
    results = []
    for blocks in (1, 2, 3, 4, 6, 7):
        machine.schedule = {"resident_blocks": blocks}
        results.append(bits(solve(machine, arrays, variant, iterations=3), 0))
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_bits_alone_and_in_a_batch_of_more_images_than_groups(variant):
    machine = kernels.Kernels("plain")
    machine.schedule = {"resident_blocks": 2}
    arrays = problem(5, 300)
    batch = solve(machine, arrays, variant)
    for image in range(5):
        alone = solve(machine, [part[image : image + 1] for part in arrays], variant)
        assert bits(alone, 0) == bits(batch, image)


@pytest.mark.parametrize("targets", [3, 41])
@pytest.mark.parametrize("variant", VARIANTS)
def test_groups_of_blocks_meet_at_counters_of_their_own(variant, targets):
    machine = kernels.Kernels("race")
    machine.schedule = {"resident_blocks": 6}  # two groups of three blocks
    arrays = problem(2, 600, targets=targets)
    arrays[2][1] = arrays[1][1] = 0  # without mass: this group is done at once
    potential, iterations, error = solve(machine, arrays, variant, iterations=3)
    np.testing.assert_array_equal(iterations, [3, 0])
    assert np.isfinite(potential[0]).all()
    assert np.isneginf(potential[1]).all()
    assert error[1] == 0
