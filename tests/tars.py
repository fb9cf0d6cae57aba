"""Entries of tars as tests write them."""

import io
import tarfile


def entry(name, content=b"", kind=tarfile.REGTYPE, **rest):
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    for key, value in rest.items():
        setattr(info, key, value)
    return info, io.BytesIO(content)
