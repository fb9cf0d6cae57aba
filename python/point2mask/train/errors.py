"""The error of a run that cannot go on."""


class TrainingError(RuntimeError):
    """What went wrong, at which step and on which images: one sentence."""
