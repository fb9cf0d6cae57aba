"""The scale study: what a point measures, and the estimate that it ends with."""

import numpy as np
import pytest
import scale
from rich.console import Console


def test_a_point_sees_the_memory_of_a_call():
    taken = scale.measure("ones", "pixels", 10, 10, lambda: np.ones(2**24, np.uint8))
    assert taken.memory == pytest.approx(2**24, rel=0.05)  # Linux counts pages in batches
    assert taken.seconds > 0


def test_growth_is_an_exponent():
    points = [
        scale.Point("a", "pixels", 10, 10, 1.0, 0),
        scale.Point("a", "pixels", 100, 100, 100.0, 2**20),
        scale.Point("b", "pixels", 1000, 1000, 1.0, 0),
    ]
    console = Console(width=120, record=True)
    scale.show(console, points)
    text = console.export_text()
    assert "2.00" in text  # a hundred times the time for ten times the size
    assert text.count("a, pixels") == text.count("b, pixels") == 1


def test_a_million_images():
    one = scale.Point("pseudo_masks", "pixels", 1, 1, 3.6, 0)
    expected = {"seconds_an_image": 3.6, "core_hours": 1000, "hours_on_64_cores": 1000 / 64}
    assert scale.estimate(one) == pytest.approx(expected)


def test_the_whole_step_is_measured():
    point = scale.step(64, 96, targets=3)
    assert (point.size, point.work) == (64 * 96, 64 * 96 * 4)
    assert point.seconds > 0
