"""What the bindings make of dtypes, layouts and bad arguments, whatever the operator."""

import inspect

import numpy as np
import pytest
import torch
from torch import Tensor

from point2mask import _core, ops

SEEDS = np.zeros((1, 1, 1), np.int32)
FLOATING = {  # by the first floating argument
    "boundary_loss": ((1, 2, 3), lambda x: _core.boundary_loss(x, *np.zeros((2, 1, 2, 3), int))),
    "geodesic_distance": ((1, 8, 2, 3), lambda x: _core.geodesic_distance(x, SEEDS)),
    "lab_affinity_loss": ((1, 3, 2, 3), lambda x: _core.lab_affinity_loss(x, x)),
    "neighbor_difference": ((1, 2, 2, 3), lambda x: _core.neighbor_difference(x)),
    "sinkhorn": (
        (1, 2, 6),
        lambda x: _core.sinkhorn(x, np.full((1, 2), 3.0), np.ones((1, 6)))[0],
    ),
    "spanning_tree": ((1, 2, 2, 3), lambda x: _core.spanning_tree(x)[3]),
    "transport_plan": (
        (1, 2, 6),
        lambda x: _core.transport_plan(x, np.zeros((1, 2)), np.ones((1, 6)), 0.1),
    ),
    "tree_filter": ((1, 2, 6), lambda x: _core.tree_filter(x, *TREE[:2], np.ones((1, 6)))),
}
TREE = _core.spanning_tree(np.arange(12.0).reshape(1, 2, 2, 3))


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
    with pytest.raises(ValueError, match=r"neighbor_difference: feature must hold real numbers, g"):
        _core.neighbor_difference(np.zeros((1, 1, 2, 2), complex))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64, ">i4"])
def test_any_integer_dtype_that_fits_is_an_index(dtype):
    cost = np.ones((1, 8, 2, 3))
    expected = _core.geodesic_distance(cost, SEEDS + 4)
    got = _core.geodesic_distance(cost, (SEEDS + 4).astype(dtype))
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
        "geodesic_distance: seeds": lambda i: _core.geodesic_distance(
            np.ones((1, 8, 2, 3)), i[..., :1]
        ),
        "boundary_loss: instance": lambda i: _core.boundary_loss(np.ones((1, 1, 2)), i, SEEDS),
        "mask_statistics: labels": lambda i: _core.mask_statistics(i, 3),
        "tree_filter: order": lambda i: _core.tree_filter(
            np.ones((1, 1, 2)), i[0], TREE[1], np.ones((1, 2))
        ),
    }
    for argument, call in calls.items():
        with pytest.raises(ValueError, match=f"{argument} {message}"):
            call(np.full((1, 1, 2), value))


def test_errors_in_threads_come_out_clean(threads, capfd):
    cost = torch.ones(16, 8, 40, 40)
    cost[3, 0] = cost[12, 0] = -1
    expected = "geodesic_distance: edge_cost must not be negative or NaN, got -1.000000 in image 3"
    for count in (1, 2):
        with threads(count), pytest.raises(ValueError, match="in image 3") as caught:
            ops.geodesic_distance(cost, torch.zeros(16, 1, 1, dtype=torch.int32))
        assert str(caught.value) == expected
    assert capfd.readouterr().err == ""


def test_errors_of_the_torch_bindings_name_no_source_file():
    with pytest.raises(ValueError, match=r"^mask_statistics: labels must be int32, got bfloat16$"):
        ops.mask_statistics(torch.zeros(1, 2, 2, dtype=torch.bfloat16), 1)
    with pytest.raises(ValueError, match=r"^mask_statistics: targets must not be negative, got -1"):
        ops.mask_statistics(torch.zeros(1, 2, 2, dtype=torch.int32), -1)


@pytest.mark.parametrize("name", [n for n in ops.__all__ if inspect.isfunction(getattr(ops, n))])
def test_arrays_in_place_of_tensors_are_named(name):
    """Not by torch, whose message has all values of the array."""
    function = getattr(ops, name)
    parameters = inspect.signature(function).parameters
    tensors = [key for key, parameter in parameters.items() if parameter.annotation is Tensor]
    assert tensors
    for tensor in tensors:
        arguments = dict.fromkeys(parameters, 1.0) | {key: torch.ones(1) for key in tensors}
        with pytest.raises(TypeError) as error:
            function(**arguments | {tensor: np.ones((2, 1000))})
        said = f"{name}: {tensor} must be a torch.Tensor, got numpy.ndarray; torch.from_numpy makes"
        assert str(error.value) == f"{said} one"
