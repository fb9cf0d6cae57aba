"""How a run ends that does not reach its end."""


class TrainingError(RuntimeError):
    """What went wrong, at which step and on which images: one sentence."""


class RunAwayError(ValueError):
    """Masks or losses cannot be made of what the network says, which is not finite: the reason."""


class Stopped(RuntimeError):
    """The run was asked to stop, and can be taken up from a checkpoint of its last step."""
