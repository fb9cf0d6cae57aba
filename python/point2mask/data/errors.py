"""The one exception for data that is not what it should be."""


class DataError(ValueError):
    """A file or an argument broke its format: one sentence with the place and what was expected."""
