"""Exceptions for data that is not what it should be."""


class DataError(ValueError):
    """A file or an argument broke its format: one sentence with the place and what was expected."""


class BrokenPictureError(DataError):
    """The picture of one image, or a map beside it, cannot be used; others may be."""
