"""A folder of panoptic results that is made picture by picture, by any number of runs.

Whoever labels or predicts a picture writes its mask and then a small record,
``records/NAME.json``, that says how it was made. A run that is taken up again, or another part of
it, looks at the records and does what is missing or was made otherwise. ``panoptic.json`` is put
together from the records at the end (:mod:`point2mask.data.gathering`); while a run is under way
there is none, so that it never speaks of masks that are not there.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import (
    normal_name,
    remove_temporaries,
    resolve_inside,
    with_suffix,
    write_bytes,
)
from point2mask.data.json_files import MAX_ID, Identifier, Text, convert, read_json
from point2mask.data.panoptic import check_mask_names, mask_name, write_mask
from point2mask.data.places import is_local, packed_below
from point2mask.data.png import DEFAULT_LIMIT, write_rgb
from point2mask.data.records import (
    Category,
    ImageRecord,
    Segment,
    categories_to_json,
    image_to_json,
)
from point2mask.data.tars import SUFFIX as TAR
from point2mask.messages import shown

INDEX, SUMMARY = "panoptic.json", "summary.json"
MASKS, OVERLAYS, RECORDS, RUNS = "panoptic", "overlays", "records", "runs"
# Folders of results, and the suffix of what is made in them.
MADE = {MASKS: ".png", OVERLAYS: ".jpg", RECORDS: ".json"}
MAX_RECORD, MAX_RUN = 2**24, 2**31  # bytes


@dataclass(frozen=True)
class Shard:
    """One of ``count`` equal parts of a list of pictures, counted from 1."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """``3/40``, the third of forty."""
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal() and len(text) < 20):
            raise ValueError(f"expected a part such as 3/40, got {text!r}")
        return cls(int(index), int(count))

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"expected a part of 1 to {self.count}, got {self}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def whole(self) -> bool:
        return self.count == 1

    def positions(self, length: int) -> range:
        """The positions that belong to this part in a list of ``length`` entries."""
        return range(self.index - 1, length, self.count)


WHOLE = Shard()


@dataclass(frozen=True)
class Making:
    """How the pictures of a folder are made; anything that changes a mask is in ``settings``."""

    command: str  # which made them: "label" or "predict"
    version: str
    settings: Mapping[str, Any]  # plain values
    overlays: bool

    def signature(self, *picture: object) -> str:
        """Of a picture made so from these plain values; another one means: make it again."""
        return digest(self.command, self.version, self.settings, self.overlays, picture)


def digest(*values: object) -> str:
    """32 hexadecimal digits of plain values."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """The same of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


class PictureRecord(msgspec.Struct, omit_defaults=True):
    """What ``records/NAME.json`` holds of one picture."""

    signature: str
    image: dict[str, Any]  # as in panoptic.json
    annotation: dict[str, Any] | None = None  # as in panoptic.json; None where it is left out
    bytes: int = 0  # of the mask's file
    left_out: str = ""  # why there is no mask


class RunRecord(msgspec.Struct):
    """What ``runs/3-of-40.json`` holds: what a part of a run does, and how."""

    command: str
    version: str
    settings: dict[str, Any]
    overlays: bool
    pictures: Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]  # of all parts
    categories: list[dict[str, Any]]
    file_names: list[str]  # the pictures of this part, in order
    finished: bool = False  # every one of them has a record that is up to date

    @property
    def making(self) -> "Making":
        return Making(self.command, self.version, self.settings, self.overlays)


class _Annotation(msgspec.Struct):
    image_id: Identifier
    file_name: Text
    segments_info: list[Segment]


def segments_of(record: PictureRecord, name: str, place: object) -> list[Segment]:
    """The segments of a picture that is not left out; ``place`` is what errors speak of.

    Raises:
        DataError: the record is not of ``name``, or no index could hold it.
    """
    image = convert(record.image, ImageRecord, f"{place}: image")
    annotation = convert(record.annotation, _Annotation, f"{place}: annotation")
    if image.file_name != name or annotation.image_id != image.id:
        got = f"{shown(image.file_name)}, {shown(image.id)}, and {shown(annotation.image_id)}"
        raise DataError(f"{place}: expected the image and annotation of {name}, got {got}")
    DEFAULT_LIMIT.check(image.height, image.width, place)
    normal_name(annotation.file_name, f"{place}: annotation.file_name")
    return annotation.segments_info


def write_struct(path: Path, value: msgspec.Struct) -> None:
    write_bytes(path, msgspec.json.encode(value) + b"\n")


@dataclass(frozen=True)
class ResultFolder:
    """The places of a folder of results."""

    root: Path

    def record_path(self, record: ImageRecord) -> Path:
        return resolve_inside(self.root / RECORDS, record_name(record.file_name))

    def mask_path(self, record: ImageRecord) -> Path:
        return resolve_inside(self.root / MASKS, mask_name(record))

    def overlay_path(self, record: ImageRecord) -> Path:
        return resolve_inside(self.root / OVERLAYS, overlay_name(record.file_name))

    def run_path(self, shard: Shard) -> Path:
        return self.root / RUNS / f"{shard.index}-of-{shard.count}.json"

    def read_record_of(self, file_name: str) -> PictureRecord:
        """The record of a picture by its name."""
        path = resolve_inside(self.root / RECORDS, record_name(file_name))
        return read_json(path, PictureRecord, "the record of a picture", MAX_RECORD)

    def has(self, record: ImageRecord, signature: str, overlay: bool) -> int | None:
        """Segments of a picture that is there as it would be made, None if it has to be made.

        The files are looked at, not read.
        """
        try:
            known = self.read_record_of(record.file_name)
            size = self.mask_path(record).stat().st_size
            drawn = not overlay or self.overlay_path(record).is_file()
            segments = segments_of(known, record.file_name, self.root)
        except (DataError, OSError):
            return None
        same = drawn and (known.signature, known.bytes) == (signature, size)
        return len(segments) if same else None

    def put(
        self,
        record: ImageRecord,
        signature: str,
        ids: NDArray[np.integer],
        segments: Sequence[Segment],
        overlay: NDArray[np.uint8] | None,
        categories: Mapping[int, Category],
    ) -> int:
        """Writes a picture's mask and overlay, and last its record.

        Args:
            record: the picture.
            signature: of :meth:`Making.signature`.
            ids: segment map ``[H, W]``, 0 = void.
            segments: of the map; areas and boxes are computed from it.
            overlay: ``uint8 [H, W, 3]``, None for none.
            categories: by id.

        Returns:
            The number of segments.
        """
        if overlay is not None:
            write_rgb(self.overlay_path(record), overlay)
        image, annotation = write_mask(self.root / MASKS, record, ids, segments, categories)
        size = self.mask_path(record).stat().st_size
        value = PictureRecord(signature, image_to_json(record), annotation, size)
        write_struct(self.record_path(record), value)
        return len(image.segments)

    def put_broken(self, record: ImageRecord, reason: str) -> None:
        """Notes that a picture is left out, and why; the next run tries it again."""
        value = PictureRecord("", image_to_json(record), left_out=reason)
        write_struct(self.record_path(record), value)

    def made(self) -> Iterator[Path]:
        """Every mask, overlay and record, by folder and suffix, and every tar of masks; links are
        not followed."""
        for folder, suffix in MADE.items():
            kinds = (suffix, TAR) if folder == MASKS else (suffix,)
            yield from (p for p in packed_below(self.root / folder) if p.suffix in kinds)


def record_name(file_name: str) -> str:
    return with_suffix(file_name, ".json")


def overlay_name(file_name: str) -> str:
    return with_suffix(file_name, ".jpg")


@contextmanager
def open_results(
    root: Path,
    making: Making,
    categories: Mapping[int, Category],
    records: Sequence[ImageRecord],
    shard: Shard = WHOLE,
    resume: bool = False,
) -> Iterator[ResultFolder]:
    """Prepares a folder for a run, or a part of one, that nobody else may disturb meanwhile.

    The run counts as finished when the context is left without an error.

    Args:
        root: made if need be. Must be empty, or of an earlier run of the same command.
        making: how the pictures are made.
        categories: by id.
        records: all pictures, of every part.
        shard: the part that this run does.
        resume: go on with what an earlier run has left. Without, its results are an error.

    Raises:
        DataError: files of somebody else, results that are there already, or another run that
            is at work on the same pictures.
    """
    part = shard.positions(len(records))
    file_names = check_mask_names(records, root, part)
    folder = ResultFolder(root)
    check_places(root)
    runs = run_records(folder)
    _check_earlier(folder, runs, making.command, shard, resume)
    with locked(folder, shard):
        for name in (INDEX, SUMMARY):  # first, as what they say is about to change
            (root / name).unlink(missing_ok=True)
        run = RunRecord(
            command=making.command,
            version=making.version,
            settings=dict(making.settings),
            overlays=making.overlays,
            pictures=len(records),
            categories=categories_to_json(categories),
            file_names=file_names,
        )
        if shard.whole:  # it does what the parts of an earlier run were to do
            for other in runs:
                folder.run_path(other).unlink()
        write_struct(folder.run_path(shard), run)
        yield folder
        write_struct(folder.run_path(shard), msgspec.structs.replace(run, finished=True))


def check_places(root: Path) -> None:
    """That a folder and those in it are folders, and none is a link to somewhere else."""
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: expected a folder for the results, but it is not a folder")
    for name in (*MADE, RUNS):
        path = root / name
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise DataError(f"{path}: expected a folder of results, but it is a file or a link")


def run_records(folder: ResultFolder) -> dict[Shard, RunRecord]:
    """What was started in a folder, by its part."""
    found = {}
    for path in sorted((folder.root / RUNS).glob("*-of-*.json")):
        try:
            shard = Shard.parse(path.stem.replace("-of-", "/"))
        except ValueError as error:
            raise DataError(f"{path}: expected a name such as 3-of-40.json") from error
        run = read_json(path, RunRecord, "the record of a run", MAX_RUN)
        if any(normal_name(name, path) != name for name in run.file_names):
            raise DataError(f"{path}: expected names of pictures in their normal form")
        if len(run.file_names) != len(shard.positions(run.pictures)):
            raise DataError(
                f"{path}: expected {len(shard.positions(run.pictures))} pictures, part {shard} of "
                f"{run.pictures}, got {len(run.file_names)}"
            )
        found[shard] = run
    return found


def _check_earlier(
    folder: ResultFolder, runs: Mapping[Shard, RunRecord], command: str, shard: Shard, resume: bool
) -> None:
    root = folder.root
    for part, known in runs.items():
        if part.count != shard.count and not shard.whole:
            raise DataError(
                f"{root}: expected parts of one number, got {shard} beside {part}; choose another "
                "folder"
            )
        if known.command != command:
            raise DataError(
                f"{root}: expected results of 'point2mask {command}', got those of "
                f"'point2mask {known.command}'; choose another folder"
            )
    if not runs:
        strangers = [root / name for name in (INDEX, SUMMARY) if (root / name).exists()]
        strangers += folder.made()
        if strangers:
            raise DataError(
                f"{root}: expected a new or empty folder, or results of 'point2mask {command}', "
                f"got {strangers[0].relative_to(root)}; choose another"
            )
    elif not resume and (shard in runs or shard.whole):
        raise DataError(
            f"{root}: holds results of an earlier run; go on with it by --resume, which keeps what "
            "is still right, or choose another folder"
        )


@contextmanager
def locked(folder: ResultFolder, shard: Shard | None) -> Iterator[None]:
    """Holds a folder of results; the parts of a run hold it together.

    Who has held it alone leaves nothing behind that a killed process had begun to write.

    Args:
        folder: its root is made if need be.
        shard: what is worked on; None for all of it.

    Raises:
        DataError: somebody else holds it. In a store nobody can tell.
    """
    if not is_local(folder.root):  # a store has no locks
        yield
        return
    runs = folder.root / RUNS
    runs.mkdir(parents=True, exist_ok=True)
    alone = shard is None or shard.whole
    kinds = [(runs / ".lock", fcntl.LOCK_EX if alone else fcntl.LOCK_SH)]
    if shard is not None:
        kinds.append((folder.run_path(shard).with_suffix(".lock"), fcntl.LOCK_EX))
    with ExitStack() as stack:
        for path, kind in kinds:
            file = stack.enter_context(path.open("ab"))
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"{folder.root}: another run is at work in this folder; wait until it has "
                    "ended, or choose another folder"
                ) from error
        yield
        if alone:
            remove_temporaries(folder.root)
