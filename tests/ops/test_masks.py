"""mask_statistics: every backend against the reference, exactly."""

import numpy as np
import pytest
import torch
from backends import values_are_checked
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from point2mask import ops
from point2mask.ops import reference

labels_and_targets = st.integers(0, 5).flatmap(
    lambda targets: st.tuples(
        hnp.arrays(
            np.int32,
            st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 40)),
            elements=st.integers(-1, targets - 1),
        ),
        st.just(targets),
    )
)


@given(case=labels_and_targets)
def test_equals_the_reference(backend, case):
    labels, targets = case
    area, centroid, box = backend.mask_statistics(labels, targets)
    expected = reference.mask_statistics(labels, targets)
    np.testing.assert_array_equal(area, expected[0])
    np.testing.assert_allclose(centroid, expected[1], rtol=1e-6)
    np.testing.assert_array_equal(box, expected[2])


@given(case=labels_and_targets)
def test_areas_of_targets_and_unlabelled_pixels_add_up(backend, case):
    labels, targets = case
    area, _, _ = backend.mask_statistics(labels, targets)
    np.testing.assert_array_equal(
        area.sum(1) + (labels == -1).sum((1, 2)), labels.shape[1] * labels.shape[2]
    )


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_empty_maps_give_zeros(backend, shape):
    area, centroid, box = backend.mask_statistics(np.zeros(shape, np.int32), 2)
    assert not area.any()
    assert not centroid.any()
    assert not box.any()


@values_are_checked
@pytest.mark.parametrize("label", [-2, 3])
def test_rejects_labels_out_of_range(backend, label):
    labels = np.zeros((2, 3, 3), np.int32)
    labels[1, 2, 2] = label
    with pytest.raises(ValueError, match=r"labels must lie in \[-1, 3\)"):
        backend.mask_statistics(labels, 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.int32), r"labels must have shape \[B, H, W\], got \[2, 3\]"),
        (torch.zeros(2, 3, 3), "labels must be int32, got float32"),
    ],
)
def test_rejects_bad_tensors(labels, message):
    with pytest.raises(ValueError, match=message):
        ops.mask_statistics(labels, 3)


def test_opcheck():
    labels = torch.randint(-1, 4, (2, 5, 6), dtype=torch.int32)
    torch.library.opcheck(torch.ops.point2mask.mask_statistics.default, (labels, 4))


def test_compiles_without_graph_breaks():
    compiled = torch.compile(ops.mask_statistics, fullgraph=True, backend="aot_eager")
    labels = torch.randint(-1, 4, (2, 5, 6), dtype=torch.int32)
    for got, expected in zip(compiled(labels, 4), ops.mask_statistics(labels, 4), strict=True):
        assert torch.equal(got, expected)


def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts):
    labels = torch.randint(-1, 7, (4, 65, 33), dtype=torch.int32)
    check_parts(lambda part: ops.mask_statistics(labels[part], 7), len(labels))
