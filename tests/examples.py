"""How many examples a property is tried on."""

from hypothesis import settings


def examples(count: int) -> settings:
    """``count``, where others have 100; more with ``--long``, as for the others."""
    return settings(max_examples=count * settings().max_examples // 100)
