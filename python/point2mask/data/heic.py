"""HEIC pictures, as telephones make them: read where pillow-heif is installed (extra ``heic``)."""

from functools import cache
from importlib.util import find_spec

HEIC_SUFFIXES = (".heic", ".heif")
HINT = "pip install 'point2mask[heic]' reads them"


def heic_suffixes() -> tuple[str, ...]:
    """Those that can be read here."""
    try:
        return HEIC_SUFFIXES if find_spec("pillow_heif") is not None else ()
    except ModuleNotFoundError:
        return ()


@cache
def heic_formats() -> tuple[str, ...]:
    """The name of the format, which Pillow knows from here on; nothing without the package.

    libheif turns and mirrors pictures as it decodes them: what is read is as viewers show it.
    """
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        return ()
    register_heif_opener()
    return ("HEIF",)
