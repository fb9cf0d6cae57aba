"""Panoptic quality and example pictures while a network is trained."""

from typing import Any

from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside
from point2mask.data.places import is_local
from point2mask.data.png import picture_size
from point2mask.data.training import SourceConfig, read_source
from point2mask.evaluation import PanopticQuality, PanopticStatistics
from point2mask.predict import Predictor, evaluate
from point2mask.train.launch import of_all_processes
from point2mask.train.pictures import prediction_picture
from point2mask.train.report import RunReport
from point2mask.trained import first_difference


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

        Raises:
            DataError: there are no true masks, other categories, or a picture or mask is missing,
                none or of another size.
        """
        files = read_source(source, root)
        if files.truth is None:
            raise DataError("data.val: expected true masks to score against, got points only")
        if other := first_difference(predictor.categories, files.categories):
            raise DataError(f"data.val: expected the categories of data.train, {other}")
        self._images_dir, self._truth, self._predictor = files.images_dir, files.truth, predictor
        self._rank: int = accelerator.process_index
        self._processes: int = accelerator.num_processes
        self._check_files()

    def _check_files(self) -> None:
        """That pictures and masks are there, of their sizes: training would stop at the first that
        is not, with an epoch behind it. Of a store, where each look takes its time, the first."""
        own = self._truth.images[self._rank :: self._processes]
        for image in own if is_local(self._images_dir) else own[:1]:
            size = image.record.height, image.record.width
            picture = resolve_inside(self._images_dir, image.record.file_name)
            for path in (picture, self._truth.mask_path(image)):
                try:
                    found = picture_size(path)
                except DataError as error:
                    raise DataError(f"data.val: {error}") from error
                if sorted(found) != sorted(size):  # it may be turned
                    raise DataError(
                        f"data.val: {path}: expected a picture of {size[1]} x {size[0]} pixels, "
                        f"got {found[1]} x {found[0]}"
                    )

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
