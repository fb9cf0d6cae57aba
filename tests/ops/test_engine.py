"""The engine's face for NumPy arrays: the torch operators' bits, from any dtype and layout."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from point2mask import engine, ops

SEEDS = np.zeros((1, 1, 1), np.int32)
FLOATING = {  # by the first floating argument
    "geodesic_distance": ((1, 8, 2, 3), lambda x: engine.geodesic_distance(x, SEEDS)),
    "sinkhorn": (
        (1, 2, 6),
        lambda x: engine.sinkhorn(x, np.full((1, 2), 3.0), np.ones((1, 6)))[0],
    ),
}
DTYPES = st.sampled_from([np.float32, np.float64])


def assert_same_bits(got, tensors):
    for array, tensor in zip(got, tensors, strict=True):
        wanted = tensor.numpy()
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        assert array.tobytes() == wanted.tobytes()


@given(
    st.integers(0, 2**32),
    DTYPES,
    st.tuples(*[st.integers(0, n) for n in (3, 9, 9, 4, 2)]),
    st.data(),
)
def test_geodesic_distance_has_the_bits_of_the_operator(seed, dtype, shape, data):
    images, height, width, targets, points = shape
    rng = np.random.default_rng(seed)
    cost = rng.choice([0.0, 0.5, 1 / 3, np.inf], (images, 8, height, width)).astype(dtype)
    seeds = rng.integers(-1, height * width, (images, targets, points)).astype(np.int32)
    wanted = ops.geodesic_distance(torch.from_numpy(cost), torch.from_numpy(seeds))
    assert_same_bits([engine.geodesic_distance(cost, seeds)], [wanted])


@given(st.integers(0, 2**32), st.tuples(*[st.integers(0, n) for n in (3, 9, 9, 4)]))
def test_mask_statistics_has_the_bits_of_the_operator(seed, shape):
    *size, targets = shape
    labels = np.random.default_rng(seed).integers(-1, targets, size).astype(np.int32)
    wanted = ops.mask_statistics(torch.from_numpy(labels), targets)
    assert_same_bits(engine.mask_statistics(labels, targets), wanted)


@given(
    st.integers(0, 2**32),
    DTYPES,
    st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 40)),
    st.sampled_from([{}, {"method": "newton"}, {"supply_relaxation": 0.1}, {"tolerance": 1e-3}]),
    st.booleans(),
)
def test_sinkhorn_has_the_bits_of_the_operator(seed, dtype, shape, options, warm):
    images, targets, pixels = shape
    rng = np.random.default_rng(seed)
    arrays = {
        "cost": rng.random(shape, dtype),
        "supply": np.full((images, targets), pixels / targets, dtype),
        "demand": np.ones((images, pixels), dtype),
    }
    if warm:
        arrays["initial_potential"] = rng.random((images, targets), dtype)
    got = engine.sinkhorn(**arrays, epsilon=0.05, max_iterations=7, **options)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    assert_same_bits(got, ops.sinkhorn(**tensors, epsilon=0.05, max_iterations=7, **options))


def test_the_defaults_are_those_of_the_operator():
    rng = np.random.default_rng(0)
    arrays = rng.random((2, 3, 20), np.float32), np.ones((2, 3), np.float32) / 3
    arrays = *arrays, np.full((2, 20), 1 / 20, np.float32)
    assert_same_bits(engine.sinkhorn(*arrays), ops.sinkhorn(*map(torch.from_numpy, arrays)))


def strided(x):
    return np.repeat(x, 2, axis=-1)[..., ::2]


@pytest.mark.parametrize("name", FLOATING)
@pytest.mark.parametrize("layout", [np.asfortranarray, strided, lambda x: x.astype(">f4")])
def test_float32_stays_float32_in_any_layout(name, layout):
    shape, call = FLOATING[name]
    x = np.random.default_rng(0).random(shape, np.float32)
    got, expected = call(layout(x)), call(x)
    assert got.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", FLOATING)
@pytest.mark.parametrize(
    ("dtype", "result"),
    [(np.float16, np.float32), (np.float64, np.float64), (np.int64, np.float64)],
)
def test_result_dtype(name, dtype, result):
    shape, call = FLOATING[name]
    assert call(np.ones(shape, dtype)).dtype == result


def test_rejects_complex_numbers():
    with pytest.raises(ValueError, match=r"geodesic_distance: edge_cost must hold real numbers, g"):
        engine.geodesic_distance(np.zeros((1, 8, 2, 2), complex), SEEDS)


@pytest.mark.parametrize(
    ("name", "shapes", "message"),
    [
        (
            "geodesic_distance",
            [(1, 4, 2, 3), (1, 1, 1)],
            r"edge_cost must have shape \[B, D=8, H, ",
        ),
        ("geodesic_distance", [(1, 8, 2, 3), (2, 1, 1)], r"seeds must have shape \[B=1, K, P\], g"),
        ("mask_statistics", [(2, 3)], r"labels must have shape \[B, H, W\], got \[2, 3\]"),
        ("sinkhorn", [(2, 6), (1, 2), (1, 6)], r"cost must have shape \[B, K, N\], got \[2, 6\]"),
        ("sinkhorn", [(1, 2, 6), (1, 3), (1, 6)], r"supply must have shape \[B=1, K=2\], got"),
        ("sinkhorn", [(1, 2, 6), (1, 2), (1, 5)], r"demand must have shape \[B=1, N=6\], got"),
    ],
)
def test_rejects_other_shapes(name, shapes, message):
    arrays = [np.zeros(shape, int) for shape in shapes]
    targets = {"targets": 3} if name == "mask_statistics" else {}
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        getattr(engine, name)(*arrays, **targets)


def test_rejects_other_methods():
    arrays = np.ones((1, 2, 6)), np.full((1, 2), 3.0), np.ones((1, 6))
    with pytest.raises(ValueError, match="method must be 'sinkhorn' or 'newton', got 'simplex'"):
        engine.sinkhorn(*arrays, method="simplex")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64, ">i4"])
def test_any_integer_dtype_that_fits_is_an_index(dtype):
    cost = np.ones((1, 8, 2, 3))
    expected = engine.geodesic_distance(cost, SEEDS + 4)
    got = engine.geodesic_distance(cost, (SEEDS + 4).astype(dtype))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**32 + 3, r"must fit in int32, got 4294967299"),
        (-(2**31) - 1, r"must fit in int32, got -2147483649"),
        (np.uint64(2**63), r"must fit in int32, got 9223372036854775808"),
        (2.9, r"must hold integers, got float64"),
        (True, r"must hold integers, got bool"),
    ],
)
def test_rejects_what_is_no_int32(value, message):
    calls = {
        "geodesic_distance: seeds": lambda i: engine.geodesic_distance(
            np.ones((1, 8, 2, 3)), i[..., :1]
        ),
        "mask_statistics: labels": lambda i: engine.mask_statistics(i, 3),
    }
    for argument, call in calls.items():
        with pytest.raises(ValueError, match=f"{argument} {message}"):
            call(np.full((1, 1, 2), value))


def test_it_has_what_the_package_calls_and_no_more():
    package = Path(inspect.getfile(ops)).parents[1]
    text = "\n".join(path.read_text() for path in package.rglob("*.py"))
    names = {name for name in vars(engine) if not name.startswith("_")}
    assert {name for name in names if f"engine.{name}" not in text} == set()
