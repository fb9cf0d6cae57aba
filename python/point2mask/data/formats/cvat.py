"""Clicks as CVAT exports them: an XML of images or of a video, with points."""

import warnings
from pathlib import Path
from xml.parsers import expat

from point2mask.data.errors import DataError
from point2mask.data.files import check_text, read_bounded
from point2mask.data.formats.pictures import MAX_FILE, Click, ClickedImage, Pictures, number
from point2mask.messages import shown

_META = (  # of a video; a project has several
    ("annotations", "meta", "task"),
    ("annotations", "meta", "job"),
    ("annotations", "meta", "project", "tasks", "task"),
)
MAX_LEVELS = 20  # of elements in elements; CVAT's own have 9
_LONGEST = 100  # characters of a number or an id of a video
_OWNERS = (("annotations", "image"), ("annotations", "track"))  # of shapes


def read_cvat(path: Path, pictures: Pictures) -> list[ClickedImage]:
    """Clicks of an ``annotations.xml`` of the kinds "CVAT for images 1.1" and "for video 1.1".

    The points of an element, of a group, or of a track are one target; other shapes are left out.
    An image of a subset is looked for in the folder of that name too; frame 7 of a video is
    ``frame_000007``. Clicks are on the picture as viewers show it.

    Raises:
        DataError: no such XML, or a document type (and with it entities); the message names the
            line.
    """
    content = read_bounded(path, "an XML of CVAT", MAX_FILE)
    reader = _Reader(path, pictures)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of encodings that nobody should use
            reader.parser.Parse(content, True)
    except DataError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter of encodings
        raise DataError(f"{path}: expected an XML of CVAT ({error!s:.100})") from error
    return reader.images


class _Reader:
    """Takes elements as they come, so that nothing but clicks is kept of a large file."""

    def __init__(self, path: Path, pictures: Pictures) -> None:
        self.images: list[ClickedImage] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._read_video
        # Entities, which can blow up a file or name others, need a document type.
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._path, self._pictures = path, pictures
        self._open: list[str] = []
        self._shapes = 0
        self._image: ClickedImage | None = None  # that shapes belong to; None if it is left out
        self._track: dict[str, str] = {}  # attributes of the track that shapes belong to
        self._tasks: list[str] = []  # the id of the one that has clicks
        self._of_videos: dict[int, dict[str, str]] = {}  # of the task, by how many are known
        self._frames: dict[tuple[str, int], ClickedImage | None] = {}  # by task and number
        self._videos: list[dict[str, str]] = []  # id, width and height of each, as text

    def _place(self) -> str:
        return f"{self._path}:{self.parser.CurrentLineNumber}"

    def _refuse_doctype(self, *_: object) -> None:
        raise DataError(f"{self._place()}: expected XML without a document type")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) == MAX_LEVELS:
            raise DataError(f"{self._place()}: expected at most {MAX_LEVELS} levels of elements")
        path, place = tuple(self._open), self._place()
        self._open.append(tag)
        if not path and tag != "annotations":
            raise DataError(f"{place}: expected <annotations>, got <{tag[:40]}>")
        if (*path, tag) in _META:
            self._videos.append({"id": ""})
        elif path == ("annotations",) and tag == "image":
            self._image = self._image_of(attributes)
        elif path == ("annotations",) and tag == "track":
            self._shapes += 1
            self._track = {**attributes, "target": str(self._shapes)}
        elif path in _OWNERS:
            if tag == "points":
                try:
                    self._add(attributes, of_track=path[-1] == "track")
                except DataError as error:
                    self._pictures.report.broken(error, "shapes")
            elif tag != "attribute":
                self._pictures.report.leave_out(
                    f"shapes of the kind {tag[:40]}, which are no clicks", place
                )

    def _end(self, _: str) -> None:
        self._open.pop()

    def _read_video(self, text: str) -> None:
        *path, key = self._open
        if tuple(path[:-1]) in _META and path[-1] == "original_size":
            path.pop()
        if tuple(path) in _META and key in ("id", "width", "height"):
            self._videos[-1][key] = (self._videos[-1].get(key, "") + text.strip())[:_LONGEST]

    def _image_of(self, attributes: dict[str, str]) -> ClickedImage | None:
        place = self._place()
        try:
            size = self._size(attributes)
            name = self._text(attributes, "name")
            subset = attributes.get("subset", "")
            names = [f"{subset}/{name}", name] if subset else [name]
            return self._found(names, f"{place}: name", size)
        except DataError as error:
            self._pictures.report.broken(error, "images")
            return None

    def _frame_of(self, attributes: dict[str, str]) -> ClickedImage | None:
        """The picture of a frame of a video, looked for once."""
        place, task = self._place(), self._track.get("task_id", "")
        frame = self._integer(attributes, "frame", 0)
        if (task, frame) not in self._frames:
            name = f"frame_{frame:06d}"
            try:
                image = self._found([name, f"{name}.PNG"], place, self._video_size(task))
                self._frames[task, frame] = image
            except DataError as error:
                self._pictures.report.broken(error, "images")
                self._frames[task, frame] = None
        return self._frames[task, frame]

    def _video_size(self, task: str) -> tuple[int | None, int | None]:
        """Of the one video that a file may have clicks on: frames of others have the same names."""
        self._tasks = self._tasks or [task]
        if task != self._tasks[0]:
            raise DataError(
                f"{self._place()}: expected tracks of one video, got task {shown(task)} after "
                f"{shown(self._tasks[0])}, whose frames have the same names; export each on its own"
            )
        count = len(self._videos)
        if count not in self._of_videos:  # once, not for every frame
            found = [video for video in self._videos if count == 1 or video["id"] == task]
            self._of_videos[count] = found[0] if found else {}
        return self._size(self._of_videos[count])

    def _size(self, texts: dict[str, str]) -> tuple[int | None, int | None]:
        if "height" not in texts and "width" not in texts:
            return None, None
        return self._integer(texts, "height", 1), self._integer(texts, "width", 1)

    def _found(
        self, names: list[str], place: str, size: tuple[int | None, int | None]
    ) -> ClickedImage:
        image = self._pictures.find(names, place, "cvat", size)
        self.images.append(image)
        return image

    def _add(self, attributes: dict[str, str], of_track: bool) -> None:
        place = self._place()
        if of_track:
            if attributes.get("outside") == "1":  # the target is not in this frame
                return
            image, label = self._frame_of(attributes), self._text(self._track, "label")
            group = self._track["target"]
        else:
            self._shapes += 1
            image, label = self._image, self._text(attributes, "label")
            group = str(self._integer({"group_id": "0", **attributes}, "group_id", 0))
            group = "" if group == "0" else group  # 0 is none
        if image is None:
            return
        places = [
            self._pair(pair, f"{place}: points")
            for pair in self._text(attributes, "points").split(";")
        ]
        image.clicks += [Click(place, x, y, label, self._shapes, group or None) for x, y in places]

    def _pair(self, text: str, place: str) -> tuple[float, float]:
        x, comma, y = text.partition(",")
        if not comma:
            raise DataError(f"{place}: expected x,y;x,y;..., got {shown(text)}")
        return number(x, place), number(y, place)

    def _text(self, attributes: dict[str, str], key: str) -> str:
        return check_text(attributes.get(key, ""), f"{self._place()}: {key}")

    def _integer(self, attributes: dict[str, str], key: str, low: int) -> int:
        text = attributes.get(key, "")
        if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) >= low):
            raise DataError(
                f"{self._place()}: {key}: expected an integer >= {low}, got {shown(text)}"
            )
        return int(text)
