"""What a run tells while it goes on: a line or a bar, TensorBoard, pictures."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from point2mask.data.files import named
from point2mask.data.png import write_rgb
from point2mask.evaluation import PanopticQuality, figures
from point2mask.progress import Progress, bar, ignore


class RunReport:
    """Reports of the main process; the other processes report nothing.

    On a terminal there is a bar with the time left; elsewhere a line every ``log_steps``.
    """

    def __init__(self, out: Path, main: bool, start: int, total: int) -> None:
        self._out, self._start, self._total = out, start, total
        self._boards = out / "tensorboard"
        self._board: Any = None
        self._bar: Any = None
        if not main:
            return
        from rich.console import Console
        from rich.progress import TextColumn
        from torch.utils.tensorboard import SummaryWriter

        # What a killed run wrote after its last checkpoint is hidden.
        self._board = SummaryWriter(str(self._boards), purge_step=start or None)
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = bar(self._console, TextColumn("{task.fields[note]}"))
        self._task = self._bar.add_task("training", total=total, completed=start, note="")
        self._bar.start()
        self._began = time.perf_counter()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            with named(self._boards):
                self._board.close()

    def say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False)

    def step(self, step: int) -> None:
        """That so many steps are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def progress(self, description: str) -> Progress:
        """The progress of something that is done between two steps."""
        if self._bar is None:
            return ignore
        task = self._bar.add_task(description, total=None, note="")

        def update(done: int, total: int) -> None:
            self._bar.update(task, completed=done, total=total, visible=done < total)

        return update

    def scalars(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Losses and the like, averaged since the last time."""
        if self._bar is None:
            return
        for name, value in values.items():
            self._scalar(f"train/{name}", value, step)
        seconds = (time.perf_counter() - self._began) / max(step - self._start, 1)
        self._scalar("time/seconds_a_step", seconds, step)
        note = f"loss {values['loss']:.3f}"
        self._bar.update(self._task, note=note)
        if not self._console.is_terminal:
            left = _clock(seconds * (self._total - step))
            rate = values["learning_rate"]
            self.say(
                f"step {step}/{self._total}  epoch {epoch}  {note}  gradient "
                f"{values['gradient_norm']:.2f}  rate {rate:.1e}  {seconds:.2f} s/step  "
                f"left {left}"
            )

    def quality(self, step: int, epoch: int, quality: PanopticQuality) -> None:
        if self._bar is None:
            return
        parts = []
        for group, values in figures(quality).items():
            for name in ("pq", "sq", "rq"):
                if (share := values[name]) is not None:
                    self._scalar(f"val/{name}_{group}", 100 * share, step)
            if (pq := values["pq"]) is not None:
                parts.append(f"{group} {100 * pq:.1f}")
        self.say(f"step {step}  epoch {epoch}  PQ: {', '.join(parts)}")

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """A picture for TensorBoard and for ``pictures/``, where the latest of a name stays."""
        if self._bar is not None:
            with named(self._boards):
                self._board.add_image(name, pixels, step, dataformats="HWC")
            write_rgb(self._out / "pictures" / f"{name}.png", pixels)

    def _scalar(self, name: str, value: float, step: int) -> None:
        with named(self._boards):
            self._board.add_scalar(name, value, step)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
