"""The colours of a batch's images at stride 8, by which maps are held to change where they do."""

from functools import cached_property

from torch import Tensor

from point2mask.losses.affinity import cell_lab, lab_affinity
from point2mask.losses.config import AnyLossConfig
from point2mask.losses.tree_energy import tree_energy
from point2mask.models import NetworkOutput, PointNetwork
from point2mask.pseudo_masks.batch import Batch
from point2mask.pseudo_masks.cells import cell_means
from point2mask.pseudo_masks.image_tree import ImageTree, image_tree


class Colors:
    """What all maps of a step are compared with; worked out when it is first asked for."""

    def __init__(
        self, config: AnyLossConfig, network: PointNetwork, output: NetworkOutput, batch: Batch
    ) -> None:
        self._config, self._network, self._batch = config, network, batch
        self._geometry = output.geometry
        self._valid = output.geometry.finest

    def lab_affinity(self, logits: Tensor) -> Tensor:
        """:func:`~point2mask.losses.affinity.lab_affinity` of ``[L, B, C, h, w]``: ``[B]``."""
        config = self._config
        return lab_affinity(logits, self._lab, self._valid, config.lab_kernels, config.lab_dilation)

    def tree_energy(self, logits: Tensor, label: Tensor) -> Tensor:
        """:func:`~point2mask.losses.tree_energy.tree_energy` of ``[L, B, C, h, w]``: ``[B]``."""
        return tree_energy(logits, self._tree, self._valid, label, self._config.published)

    @cached_property
    def _cells(self) -> Tensor:
        batch, geometry = self._batch, self._geometry
        return cell_means(
            batch.images, batch.image_size, geometry.shapes[0], spanning=geometry.spanning
        )

    @cached_property
    def _lab(self) -> Tensor:
        return cell_lab(self._cells, self._valid)

    @cached_property
    def _tree(self) -> ImageTree:
        guide = self._network.normalise(self._cells)
        return image_tree(guide, self._valid, self._config.tree_sigma)
