"""Labelling from the command line, and what it leaves in its folder."""

from point2mask.cli import main


def run(images, points, out, *options):
    arguments = ["label", "--images", images, "--points", points, "--out", out, *options]
    return main([str(argument) for argument in arguments])


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def masks_and_index(out):
    """All bytes of a result but the seconds of its summary."""
    return {path: content for path, content in files(out).items() if path.name != "summary.json"}
