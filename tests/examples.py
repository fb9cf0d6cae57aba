"""How many examples a property is tried on."""

from hypothesis import settings


def examples(count: int) -> settings:
    """``count``, where others have 100; more with ``--long`` and fewer with ``--few``, as there."""
    return settings(max_examples=max(1, count * settings().max_examples // 100))
