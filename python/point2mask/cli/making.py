"""What the commands share that make a folder of results picture by picture."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from point2mask.cli.command import Parser, UsageError, process_count, write_result
from point2mask.messages import number_of

if TYPE_CHECKING:
    from point2mask.data import BrokenPictureError, Made, Spreading


SHOWN = 5  # names that a message lists


def add_spreading(parser: Parser, workers: str) -> None:
    """The options that say which pictures are done, and by whom; ``workers`` is the default."""
    parser.add_argument(
        "--workers", type=process_count, metavar="N", help=f"processes (default: {workers})"
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="work on a Ray cluster, whose machines see the same files at the same paths, in place "
        "of --workers; without an address one is started on this machine; auto: the one that this "
        "machine belongs to",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the results in --out: pictures are kept that are there as they would be "
        "made, with the same version, options, weights and clicks",
    )
    parser.add_argument(
        "--shard",
        default="1/1",
        metavar="K/N",
        help="do the K-th of N parts, from 1; parts can run in any order, at the same time and on "
        "several machines, into one folder or several; 'point2mask gather' puts them together",
    )


def add_skip_broken(parser: Parser, broken: str) -> None:
    parser.add_argument(
        "--skip-broken",
        action="store_true",
        help=f"leave images out whose {broken}, and list them at the end (default: stop at the "
        "first; go on with --resume once it is mended)",
    )


def add_frame(parser: Parser, what: str) -> None:
    """The option ``--frame`` of commands whose masks are in the frame of what they are given."""
    parser.add_argument(
        "--frame",
        choices=("stored", "shown"),
        help=f"{what} pictures as they are stored, or as viewers show them, turned by their EXIF "
        "tag; the masks are then on those (default: as the file says, else as stored, and as shown "
        "where only that has the size in the file)",
    )


def spreading_of(args: argparse.Namespace, workers: int | None) -> "Spreading":
    """What :func:`add_spreading` was told; ``workers`` is the default."""
    from point2mask.data import Shard, Spreading

    try:
        shard = Shard.parse(args.shard)
    except ValueError as error:
        raise UsageError(f"--shard: {error}") from error
    if args.ray is not None and args.workers is not None:
        raise UsageError("--ray and --workers both say who works, leave one of them out")
    return Spreading(args.workers or workers, shard, args.resume, args.batch or 1, args.ray)


def check_apart(out: Path, images: Path, sources: Sequence[str | Path] = ()) -> None:
    """Refuses results among the pictures, where the next run would take them for pictures.

    Args:
        out: the folder of the results.
        images: that of the pictures.
        sources: what the pictures are looked for in, none where a list names them.
    """
    from point2mask.data.sources import looks_into

    if out.resolve() == images.resolve():
        raise UsageError(f"--out: {out} is the folder of the pictures; choose another")
    for source in sources:
        if looks_into(source, out):
            raise UsageError(f"--out: {out} is among the pictures of {source}; choose another")


@contextmanager
def leaving_out_broken(
    skip: bool,
) -> "Iterator[Callable[[BrokenPictureError], None] | None]":
    """What is to be called for a broken picture, None where the first one is an error."""
    from point2mask.data import BrokenPictureError

    try:
        yield (lambda error: None) if skip else None
    except BrokenPictureError as error:
        raise UsageError(
            f"{error}; mend it and go on with --resume, or leave such images out with --skip-broken"
        ) from error


def report_made(args: argparse.Namespace, made: "Made", what: str, seconds: float) -> None:
    """Tells what was made, and as JSON where that is asked for."""
    index = args.out / "panoptic.json"
    part = "" if args.shard == "1/1" else f" of part {args.shard}"
    kept = f", {made.kept} of them kept," if args.resume else ""
    print(
        f"{number_of(made.segments, what)} in {number_of(made.images, 'image')}{part}{kept} "
        f"in {seconds:.1f} s: {args.out if part else index}",
        file=sys.stderr,
    )
    if part:
        print(f"when all parts are done: point2mask gather {args.out}", file=sys.stderr)
    if made.empty:
        images = number_of(len(made.empty), "image")
        print(f"without a {what}: {images}, such as {min(made.empty)}", file=sys.stderr)
    if made.notes:
        lines = [f"{name}: {made.notes[name]}" for name in sorted(made.notes)]
        rest = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        title = f"masks of {number_of(len(lines), 'image')} may be too coarse:"
        print(title, *lines[:SHOWN], *rest, sep="\n  ", file=sys.stderr)
    if made.left_out:
        total = made.images + len(made.left_out)
        reasons = [made.left_out[name] for name in sorted(made.left_out)]
        title = f"left out {len(reasons)} of {number_of(total, 'image')}:"
        print(title, *reasons, sep="\n  ", file=sys.stderr)
    write_result(
        args.json,
        {
            "annotations": None if part else str(index),
            "images": made.images,
            f"{what}s": made.segments,
            "kept": made.kept,
            "empty": len(made.empty),
            "seconds": seconds,
            "notes": made.notes,
            "left_out": [made.left_out[name] for name in sorted(made.left_out)],
        },
    )
