"""Results packed into tars, as WebDataset reads them: a mask and its JSON a picture."""

import tarfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import PurePath

import msgspec

from point2mask.data.errors import DataError
from point2mask.data.files import open_replacing, read_bounded, resolve_inside
from point2mask.data.results import MASKS, PictureRecord, ResultFolder
from point2mask.data.tars import MAX_MEMBER, SUFFIX
from point2mask.messages import shown


def check_sample_names(names: Sequence[str]) -> None:
    """That a mask and its JSON are one sample: WebDataset cuts names at their first dot."""
    for name in names:
        stem = PurePath(name).stem
        if "." in stem:
            raise DataError(
                f"{name}: expected names with one dot, that of the suffix, for tars, got "
                f"{shown(stem)} before it"
            )


def packed(
    target: ResultFolder, names: Sequence[str], places: Sequence[ResultFolder], count: int
) -> Iterator[PictureRecord]:
    """Writes tars of ``count`` pictures; gives the records with the names that masks have in them.

    As a tar counts as a folder of its name, a mask is called ``000000.tar/NAME.png``, and whoever
    reads the masks of a folder reads these. Beside it lies ``NAME.json``, with the ``image`` and
    the ``annotation`` of ``panoptic.json``. The same results give the same bytes.

    Args:
        target: gets the tars.
        names: of the pictures.
        places: the folder that each one's results are in.
        count: pictures a tar, those included that are left out.

    Raises:
        DataError: a mask is missing, or is not the one that its record tells of.
    """
    for number, first in enumerate(range(0, len(names), count)):
        tar_name = f"{number:06}{SUFFIX}"
        part = slice(first, first + count)
        with (
            open_replacing(target.root / MASKS / tar_name) as file,
            tarfile.open(fileobj=file, mode="w") as tar,
        ):
            for name, folder in zip(names[part], places[part], strict=True):
                record = folder.read_record_of(name)
                if record.annotation is not None:
                    mask = PurePath(name).with_suffix(".png").as_posix()
                    path = resolve_inside(folder.root / MASKS, mask)
                    content = read_bounded(path, "a mask", MAX_MEMBER)
                    if len(content) != record.bytes:
                        raise DataError(
                            f"{path}: expected a mask of {record.bytes} bytes as its record says, "
                            f"got {len(content)}; make it again with --resume"
                        )
                    _add(tar, mask, content)
                    about = {"image": record.image, "annotation": record.annotation}
                    _add(tar, f"{PurePath(name).with_suffix('')}.json", msgspec.json.encode(about))
                    annotation = {**record.annotation, "file_name": f"{tar_name}/{mask}"}
                    record = msgspec.structs.replace(record, annotation=annotation)
                yield record


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # of no time and nobody
    info.size = len(content)
    tar.addfile(info, BytesIO(content))
