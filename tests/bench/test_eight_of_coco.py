"""The recipes of the table of the three networks that are no part of the package: they load."""

from pathlib import Path

import pytest

from point2mask.train.config import load_config

FOLDER = Path(__file__).parents[2] / "bench" / "eight_of_coco"


@pytest.mark.parametrize("architecture", ["mask2former", "maskdino"])
def test_a_recipe_scores_what_it_learns(architecture):
    config = load_config(FOLDER / f"{architecture}.yaml")
    assert config.network.architecture == config.loss.architecture == architecture
    assert config.network.num_classes == 133
    assert config.data.train == config.data.val
    assert config.data.train.first == 8
