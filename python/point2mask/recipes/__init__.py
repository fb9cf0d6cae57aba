"""The recipes that come with the package: one YAML file a run, found by its name.

The first line of a recipe is a comment that says what it is for.
"""

from pathlib import Path

from point2mask.data.errors import DataError
from point2mask.messages import nearest

FOLDER = Path(__file__).parent


def summaries() -> dict[str, str]:
    """What every recipe is for, by name.

    >>> summaries()["voc_r50"]
    'Point2Mask on Pascal VOC with ResNet-50 as published: 4 GPUs of 2 images.'
    """
    return {path.stem: _summary(path) for path in sorted(FOLDER.glob("*.yaml"))}


def find(name: str | Path) -> Path:
    """The file of a recipe that is given by its name, or the path of one's own.

    Raises:
        DataError: there is neither a recipe nor a file of this name.
    """
    path = Path(name)
    own = FOLDER / f"{name}.yaml"
    if len(path.parts) == 1 and own.is_file():
        return own
    if path.exists():
        return path
    names = [known.stem for known in FOLDER.glob("*.yaml")]
    close = nearest(path.stem, names)
    hint = f"did you mean {close!r}?" if close else "'point2mask recipes' lists the recipes"
    raise DataError(f"{name}: expected the name of a recipe or a YAML file; {hint}")


def _summary(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()
