"""The parts of a folder of results, or of several, put together as one COCO panoptic data set."""

import shutil
import tempfile
from array import array
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import msgspec
import numpy as np

from point2mask.data.errors import DataError
from point2mask.data.files import link_or_copy, open_replacing, resolve_inside
from point2mask.data.json_files import convert
from point2mask.data.packing import check_sample_names, packed
from point2mask.data.places import path_of
from point2mask.data.records import CategoryEntry, categories_by_id, check_entries
from point2mask.data.results import (
    INDEX,
    MASKS,
    OVERLAYS,
    RECORDS,
    RUNS,
    WHOLE,
    PictureRecord,
    ResultFolder,
    RunRecord,
    Shard,
    check_places,
    locked,
    overlay_name,
    record_name,
    run_records,
    segments_of,
    write_struct,
)
from point2mask.data.tars import SUFFIX as TAR


@dataclass
class Gathered:
    """What was put together."""

    images: int = 0
    segments: int = 0
    things: int = 0
    left_out: dict[str, str] = field(default_factory=dict)  # why pictures are broken, by name
    twice: list[str] = field(default_factory=list)  # pictures that several folders have alike


def gather(
    roots: Sequence[str | Path], out: str | Path | None = None, per_tar: int | None = None
) -> Gathered:
    """Puts the parts of a run together: ``panoptic.json`` and all that it speaks of in one folder.

    Args:
        roots: folders that the parts were made in, one for all of them or several.
        out: where the whole goes, a new or empty folder, or None where there is one folder, in
            which it then is made whole. Masks are linked where the file system can, else copied.
        per_tar: pictures whose masks are packed into a tar together, see
            :func:`~point2mask.data.packing.packed`, in place of files; needs ``out``.

    Raises:
        DataError: a part or a picture is missing, parts were made in different ways, two folders
            hold different masks of a picture, or no picture can be used.
    """
    if out is None and (len(roots) > 1 or per_tar is not None):
        raise DataError("expected a folder to gather several, or tars, into, got none")
    folders = [ResultFolder(path_of(root)) for root in roots]
    for number, folder in enumerate(folders):
        if any(folder.root.resolve() == other.root.resolve() for other in folders[:number]):
            raise DataError(f"{folder.root}: expected every folder once, got it twice")
    out = None if out is None else path_of(out)
    target = folders[0] if out is None else ResultFolder(out)
    with ExitStack() as stack:
        for folder in folders:
            if folder.root.suffix == TAR and folder.root.is_file():
                raise DataError(f"{folder.root}: expected a folder, got a tar; unpack it first")
            check_places(folder.root)
            if not (folder.root / RUNS).is_dir():
                raise DataError(f"{folder.root}: expected results, made with --shard, got none")
            stack.enter_context(locked(folder, None))
        whole = _complete(folders)
        if out is not None:
            check_places(out)
            begun = msgspec.structs.replace(whole, finished=False)
            if not _is_free(target, begun):
                raise DataError(f"{out}: expected a new or empty folder")
        if per_tar is not None:
            check_sample_names(whole.file_names)
        places, twice = _places(folders, whole)
        if out is not None:
            stack.enter_context(locked(target, None))
            if run_records(target) == {WHOLE: begun}:  # files or tars of other numbers perhaps
                for path in target.made():
                    path.unlink()
            write_struct(target.run_path(WHOLE), begun)
        if per_tar is not None:
            gathered = write_index(target, whole, packed(target, whole.file_names, places, per_tar))
            target.run_path(WHOLE).unlink()  # it is no folder to go on in
        elif out is not None:
            for name, folder in zip(whole.file_names, places, strict=True):
                _bring(folder, target, name, whole.overlays)
            gathered = write_index(target, whole)
            write_struct(target.run_path(WHOLE), whole)
        else:
            gathered = write_index(target, whole)
    gathered.twice = twice
    return gathered


def _is_free(folder: ResultFolder, run: RunRecord) -> bool:
    """Whether a folder is new, empty, or what a killed ``gather`` of the same left."""
    if not folder.root.exists() or run_records(folder) == {WHOLE: run}:
        return True
    files = [path for path in folder.root.rglob("*") if not path.is_dir()]
    return all(path.parent == folder.root / RUNS and path.suffix == ".lock" for path in files)


def write_index(
    folder: ResultFolder, run: RunRecord, records: Iterable[PictureRecord] | None = None
) -> Gathered:
    """Writes ``panoptic.json`` from the records of a run, in its order; none is kept in memory.

    Args:
        folder: gets the file.
        run: all of it.
        records: of its pictures; by default those in the folder.

    Raises:
        DataError: two pictures have the same id, or every picture was left out.
    """
    if records is None:
        records = map(folder.read_record_of, run.file_names)
    gathered = Gathered()
    place = f"{folder.root}: categories"
    categories = categories_by_id(convert(run.categories, list[CategoryEntry], place), folder.root)
    ids = array("q")  # as hashes, of which only equal ids have equal ones
    with (
        tempfile.TemporaryFile() as annotations,
        open_replacing(folder.root / INDEX) as file,
    ):
        file.write(b'{"images":[')
        for name, record in zip(run.file_names, records, strict=True):
            path = folder.root / RECORDS / record_name(name)
            if record.annotation is None:
                gathered.left_out[name] = record.left_out
                continue
            segments = segments_of(record, name, path)
            check_entries(segments, categories, path)
            ids.append(hash(repr(record.image["id"])))
            comma = b"," if gathered.images else b""
            file.write(comma + msgspec.json.encode(record.image))
            annotations.write(comma + msgspec.json.encode(record.annotation))
            gathered.images += 1
            gathered.segments += len(segments)
            gathered.things += sum(categories[s.category_id].isthing for s in segments)
        if run.file_names and not gathered.images:
            raise DataError(
                f"{folder.root}: none of the {len(run.file_names)} pictures can be used"
            )
        if len(np.unique(ids)) < len(ids):
            raise DataError(f"{folder.root / RECORDS}: expected unique image ids in all records")
        file.write(b'],"annotations":[')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
        file.write(b'],"categories":' + msgspec.json.encode(run.categories) + b"}\n")
    return gathered


def remove_stale(folder: ResultFolder, run: RunRecord, left_out: Collection[str]) -> None:
    """Removes masks, overlays and records that are not of the pictures of a run, and tars."""
    stems = {str(PurePath(name).with_suffix("")) for name in run.file_names}
    without = {str(PurePath(name).with_suffix("")) for name in left_out}
    for path in folder.made():
        made, *below = path.relative_to(folder.root).parts
        stem = str(PurePath(*below).with_suffix(""))
        wanted = made != OVERLAYS or run.overlays
        packed_masks = path.suffix == TAR
        if (
            packed_masks
            or stem not in stems
            or (made != RECORDS and (stem in without or not wanted))
        ):
            path.unlink()


def _complete(folders: Sequence[ResultFolder]) -> RunRecord:
    """One run over all pictures, in the order of the list that was shared out."""
    runs: dict[Shard, tuple[Path, RunRecord]] = {}
    for folder in folders:
        for shard, run in run_records(folder).items():
            known = runs.setdefault(shard, (folder.root, run))
            if not run.finished:
                raise DataError(
                    f"{folder.root}: part {shard} has not been finished; run it again with --resume"
                )
            if known[1].file_names != run.file_names:
                raise DataError(
                    f"{folder.root}: part {shard} is of other pictures than in {known[0]}"
                )
    if not runs:
        raise DataError(f"{folders[0].root}: expected results, made with --shard, got none")
    (root, first), *others = runs.values()
    for other_root, other in others:
        for what in ("command", "version", "settings", "overlays", "pictures", "categories"):
            values = getattr(first, what), getattr(other, what)
            if values[0] != values[1]:
                raise DataError(
                    f"{other_root}: its {what} differ from those of {root}: {values[1]!r}, "
                    f"not {values[0]!r}"
                )
    one = next(iter(runs))
    for shard, (other_root, _) in runs.items():
        if shard.count != one.count:
            raise DataError(
                f"{other_root}: expected parts of one number, got {shard} beside {one} of {root}"
            )
    parts = [Shard(index + 1, one.count) for index in range(one.count)]
    if missing := [str(shard) for shard in parts if shard not in runs]:
        raise DataError(f"{root}: expected all {one.count} parts, got none of {_few(missing)}")
    names = [""] * first.pictures
    for shard, (_, run) in runs.items():
        names[shard.index - 1 :: shard.count] = run.file_names
    return msgspec.structs.replace(first, file_names=names)


def _places(
    folders: Sequence[ResultFolder], whole: RunRecord
) -> tuple[list[ResultFolder], list[str]]:
    """The folder that holds each picture, and the names of those that several hold alike."""
    places, twice, missing = [], [], []
    for name in whole.file_names:
        holders = [f for f in folders if (f.root / RECORDS / record_name(name)).is_file()]
        if not holders:
            missing.append(name)
            continue
        if len(holders) > 1:
            records = {(f.root / RECORDS / record_name(name)).read_bytes() for f in holders}
            if len(records) > 1:
                raise DataError(
                    f"{name}: has different masks in {holders[0].root} and {holders[1].root}"
                )
            twice.append(name)
        places.append(holders[0])
    if missing:
        raise DataError(
            f"{len(missing)} of {len(whole.file_names)} pictures are missing: {_few(missing)}; run "
            "their parts again with --resume"
        )
    return places, twice


def _bring(folder: ResultFolder, target: ResultFolder, name: str, overlays: bool) -> None:
    """A picture's files into another folder, its record last."""
    record_path = resolve_inside(folder.root / RECORDS, record_name(name))
    record = folder.read_record_of(name)
    if record.annotation is not None:
        mask = Path(name).with_suffix(".png").as_posix()
        link_or_copy(resolve_inside(folder.root / MASKS, mask), target.root / MASKS / mask)
        if overlays:
            drawn = overlay_name(name)
            source = resolve_inside(folder.root / OVERLAYS, drawn)
            link_or_copy(source, target.root / OVERLAYS / drawn)
    link_or_copy(record_path, target.root / RECORDS / record_name(name))


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
