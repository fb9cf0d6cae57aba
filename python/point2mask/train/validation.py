"""Panoptic quality and example pictures while a network is trained."""

from typing import Any

from point2mask.data.errors import DataError
from point2mask.data.training import SourceConfig, read_source
from point2mask.evaluation import PanopticQuality, PanopticStatistics
from point2mask.predict import Predictor, evaluate
from point2mask.train.launch import of_all_processes
from point2mask.train.pictures import prediction_picture
from point2mask.train.report import RunReport


class Validation:
    """The validation images, of which every process takes its share."""

    def __init__(
        self, source: SourceConfig, root: str, predictor: Predictor, accelerator: Any
    ) -> None:
        """
        Args:
            source: the images with their true masks.
            root: where its paths start from.
            predictor: with the network that is trained.
            accelerator: accelerate's object for this process.
        """
        files = read_source(source, root)
        if files.truth is None:
            raise DataError("data.val: expected true masks to score against, got points only")
        both = (files.categories, predictor.categories)
        kinds = [[(c.id, c.isthing) for c in categories.values()] for categories in both]
        if kinds[0] != kinds[1]:
            raise DataError("data.val: expected the categories of data.train, got others")
        self._images_dir, self._truth, self._predictor = files.images_dir, files.truth, predictor
        self._rank: int = accelerator.process_index
        self._processes: int = accelerator.num_processes

    def quality(self, report: RunReport, limit: int | None = None) -> PanopticQuality:
        """Of the first ``limit`` images; the network is in evaluation mode."""
        count = len(self._truth.images)
        count = count if limit is None else min(count, limit)
        own = evaluate(
            self._predictor,
            self._images_dir,
            self._truth,
            range(self._rank, count, self._processes),
            report.progress("evaluation"),
        )
        total = PanopticStatistics.zero(self._truth.categories)
        for part in of_all_processes([own]):
            total += part
        return total.quality()

    def draw(self, report: RunReport, step: int, count: int) -> None:
        """Pictures of the first ``count`` predictions beside the truth."""
        for number, image in enumerate(self._truth.images[:count]):
            picture = prediction_picture(self._predictor, self._images_dir, self._truth, image)
            report.picture(step, f"prediction_{number}", picture)
