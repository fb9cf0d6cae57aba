"""Clicks as CVAT exports them: "CVAT for images 1.1", an XML with points."""

from pathlib import Path
from xml.parsers import expat

from point2mask.data.errors import DataError
from point2mask.data.files import check_text, read_bounded
from point2mask.data.formats.clicks import MAX_FILE, Click, ClickedImage, Pictures


def read_cvat(path: Path, pictures: Pictures) -> list[ClickedImage]:
    """Clicks of an ``annotations.xml``; the points of an element, or of a group, are one target.

    Raises:
        DataError: no such XML, a document type (and with it entities), or shapes other than points;
            the message names the line.
    """
    content = read_bounded(path, "an XML of CVAT", MAX_FILE)
    reader = _Reader(path, pictures)
    try:
        reader.parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DataError(f"{path}: expected an XML of CVAT ({error})") from error
    return reader.images


class _Reader:
    """Takes the elements as they come; no tree is built."""

    def __init__(self, path: Path, pictures: Pictures) -> None:
        self.images: list[ClickedImage] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        # Entities, which can blow up a file or name others, need a document type.
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._path = path
        self._pictures = pictures
        self._open: list[str] = []
        self._shapes = 0

    def _place(self) -> str:
        return f"{self._path}:{self.parser.CurrentLineNumber}"

    def _refuse_doctype(self, *_: object) -> None:
        raise DataError(f"{self._place()}: expected XML without a document type")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._open and tag != "annotations":
            raise DataError(f"{self._place()}: expected <annotations>, got <{tag[:40]}>")
        if self._open == ["annotations"] and tag == "image":
            self._start_image(attributes)
        elif self._open == ["annotations"] and tag == "track":
            raise DataError(
                f"{self._place()}: expected images, got a <track>; export as 'CVAT for images'"
            )
        elif self._open == ["annotations", "image"]:
            if tag != "points":
                raise DataError(
                    f"{self._place()}: expected <points>, as other shapes are no clicks, "
                    f"got <{tag[:40]}>"
                )
            self._add_points(attributes)
        self._open.append(tag)

    def _end(self, _: str) -> None:
        self._open.pop()

    def _start_image(self, attributes: dict[str, str]) -> None:
        place = self._place()
        size = [self._integer(attributes, key, 1) for key in ("height", "width")]
        name = self._text(attributes, "name")
        self.images.append(self._pictures.find(name, f"{place}: name", *size))

    def _add_points(self, attributes: dict[str, str]) -> None:
        place, label = self._place(), self._text(attributes, "label")
        group = str(self._integer(attributes, "group_id", 0)) if "group_id" in attributes else None
        self._shapes += 1
        for pair in self._text(attributes, "points").split(";"):
            try:
                x, y = map(float, pair.split(","))
            except ValueError as error:
                raise DataError(f"{place}: points: expected x,y;x,y;..., got {pair!r}") from error
            self.images[-1].clicks.append(Click(place, x, y, label, self._shapes, group))

    def _text(self, attributes: dict[str, str], key: str) -> str:
        return check_text(attributes.get(key, ""), f"{self._place()}: {key}")

    def _integer(self, attributes: dict[str, str], key: str, low: int) -> int:
        text = attributes.get(key, "")
        if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) >= low):
            raise DataError(f"{self._place()}: {key}: expected an integer >= {low}, got {text!r}")
        return int(text)
