"""The bits are those that were recorded: a change of them is meant, or it is a fault.

``python tests/golden/records.py`` records them anew and says which have changed.
"""

import platform

import pytest
from golden import operators, package, records


def check(found: dict[str, str], recorded: dict[str, str]) -> None:
    """A machine may lack a record of what was changed on another."""
    changed = [name for name, bits in sorted(recorded.items()) if found.get(name) != bits]
    assert not changed, f"other bits than recorded: {changed}"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="recorded for x86-64")
def test_operators_and_their_gradients():
    check(operators.digests(), records.read()["operators"])


def test_training_labels_and_pseudo_masks(tmp_path):
    recorded = records.read()["package"].get(package.environment())
    if recorded is None:
        pytest.skip(f"no bits recorded for {package.environment()}")
    check(package.digests(tmp_path), recorded)
