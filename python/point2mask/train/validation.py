"""Panoptic quality and example pictures while a network is trained."""

from collections.abc import Mapping
from typing import Any

from point2mask.data.errors import DataError
from point2mask.data.records import Category
from point2mask.data.training import SourceConfig, read_source
from point2mask.evaluation import PanopticQuality, PanopticStatistics
from point2mask.models import PointNetwork
from point2mask.predict import Predictor, evaluate
from point2mask.pseudo_masks.batch import Batch
from point2mask.train.config import RunConfig
from point2mask.train.launch import gather
from point2mask.train.pictures import prediction_picture, pseudo_mask_picture
from point2mask.train.report import Report


class Validation:
    """The validation images, of which every process takes its share."""

    def __init__(
        self,
        source: SourceConfig,
        config: RunConfig,
        categories: Mapping[int, Category],
        accelerator: Any,
    ) -> None:
        files = read_source(source, config.data.root)
        if files.truth is None:
            raise DataError("data.val: expected true masks to score against, got points only")
        kinds = [[(c.id, c.isthing) for c in x.values()] for x in (files.categories, categories)]
        if kinds[0] != kinds[1]:
            raise DataError("data.val: expected the categories of data.train, got others")
        self._images_dir, self._truth, self._categories = files.images_dir, files.truth, categories
        self._config = config
        self._rank: int = accelerator.process_index
        self._processes: int = accelerator.num_processes

    def quality(
        self, network: PointNetwork, report: Report, limit: int | None = None
    ) -> PanopticQuality:
        """Of the first ``limit`` images; the network is in evaluation mode."""
        count = len(self._truth.images)
        count = count if limit is None else min(count, limit)
        own = evaluate(
            self._predictor(network),
            self._images_dir,
            self._truth,
            range(self._rank, count, self._processes),
            report.progress("evaluation"),
        )
        total = PanopticStatistics.zero(self._truth.categories)
        for part in gather([own]):
            total += part
        return total.quality()

    def draw(
        self,
        network: PointNetwork,
        report: Report,
        step: int,
        last: tuple[Batch, Any] | None,
    ) -> None:
        """Pictures of predictions, and of the pseudo-masks of a batch if there are some."""
        count = self._config.report.pictures
        if count and last is not None and last[1] is not None:
            picture = pseudo_mask_picture(*last, self._categories)
            report.picture(step, "pseudo_masks", picture)
        predictor = self._predictor(network)
        for number, image in enumerate(self._truth.images[:count]):
            picture = prediction_picture(predictor, self._images_dir, self._truth, image)
            report.picture(step, f"prediction_{number}", picture)

    def _predictor(self, network: PointNetwork) -> Predictor:
        config = self._config
        return Predictor(
            network, self._categories, config.augment, config.merge, config.supervision
        )
