"""A training run on the clicks of the folder, in a process of its own, and how far it is."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from point2mask.app.storage import ConflictError
from point2mask.data.errors import DataError
from point2mask.data.points import write_points
from point2mask.data.targets import PointLabels
from point2mask.data.yaml_file import to_yaml

RECIPE = "own_clicks"
COMMAND = (sys.executable, "-m", "point2mask", "train")
PATIENCE = 30  # seconds that a run gets to leave a checkpoint
LOG_STEPS = 2  # a step takes seconds on a busy laptop
_LINE = re.compile(r"step (\d+)/(\d+)  epoch \d+  loss (\S+)(?:.*  left (\S+))?")
_ERROR = "point2mask: error: "


@dataclass(frozen=True)
class TrainingStatus:
    """``state`` is ``none`` at first, then ``running``, ``done``, ``stopped`` or ``failed``."""

    state: str = "none"
    step: int = 0
    steps: int = 0
    loss: str = ""
    left: str = ""  # time to the end, hours:minutes:seconds
    path: str = ""  # folder of the run
    error: str = ""
    drawn: int = 0  # another number where the run has drawn its pictures anew; 0: none yet


class TrainingJob:
    """The run that goes on or was the last one. Threads may share it."""

    def __init__(
        self, out: Path, on_done: Callable[[Path], None], command: Sequence[str] = COMMAND
    ) -> None:
        """
        Args:
            out: gets a folder ``training_N`` a run.
            on_done: called with the folder of a run that is complete.
            command: that trains, before the recipe.
        """
        self._out, self._on_done, self._command = out, on_done, command
        self._lock = threading.Lock()
        self._status = TrainingStatus()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    @property
    def status(self) -> TrainingStatus:
        with self._lock:
            status = self._status
        if not status.path:
            return status
        try:
            return replace(status, drawn=self._picture(status, 0).stat().st_mtime_ns)
        except OSError:
            return status

    def start(self, labels: PointLabels, images_dir: Path, steps: int) -> TrainingStatus:
        """Trains on clicks as they are now; later changes are not seen.

        Raises:
            ConflictError: a run goes on.
            DataError: no clicks.
        """
        if not labels.images:
            raise DataError("there is nothing to learn from: no picture has a click yet")
        with self._lock:
            if self._status.state == "running":
                raise ConflictError("a training run goes on; stop it or wait until it is done")
            folder = self._new_folder()
            points = folder / "points.json"
            write_points(points, labels)
            values: dict[str, object] = {
                "data.root": str(images_dir.resolve()),
                "data.train.points": str(points.resolve()),
                "schedule.steps": steps,
                "report.log_steps": LOG_STEPS,
                "report.evaluate_epochs": 1,  # which draws pictures
            }
            words = [f"{key}={to_yaml(value)}" for key, value in values.items()]
            self._process = subprocess.Popen(
                [*self._command, RECIPE, *words, "--out", str(folder / "run")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            self._stopped = False
            self._status = TrainingStatus("running", 0, steps, path=str(folder / "run"))
            started = self._status
            watch = threading.Thread(target=self._watch, args=(self._process,), daemon=True)
        watch.start()
        return started

    def stop(self) -> None:
        """Ends a run that goes on; its last checkpoint stays."""
        with self._lock:
            process = self._process if self._status.state == "running" else None
            self._stopped = process is not None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()

    def picture(self, number: int) -> Path:
        """The picture of one of the run's images.

        Raises:
            DataError: there is none.
        """
        status = self.status
        path = self._picture(status, number)
        if not status.path or not path.is_file():
            raise DataError(f"there is no picture {number} of a training run yet")
        return path

    @staticmethod
    def _picture(status: TrainingStatus, number: int) -> Path:
        return Path(status.path) / "pictures" / f"training_{number}.png"

    def _new_folder(self) -> Path:
        self._out.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            folder = self._out / f"training_{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder

    def _watch(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        last = ""
        with process.stderr as lines:
            for line in lines:
                last = line.strip() or last
                if found := _LINE.search(line):
                    with self._lock:
                        step, steps, loss, left = found.groups(default="")
                        self._status = replace(
                            self._status, step=int(step), steps=int(steps), loss=loss, left=left
                        )
        state, error = "done" if process.wait() == 0 else "failed", ""
        if state == "done":
            try:
                self._on_done(Path(self.status.path))
            except Exception as fault:  # the page must not wait for ever
                state, error = "failed", str(fault)
        elif self._stopped:
            state = "stopped"
        else:
            error = last.removeprefix(_ERROR) or "the run ended without a word"
        with self._lock:
            self._status = replace(self._status, state=state, error=error)
