"""A promptable segmentation network, two ONNX files run by onnxruntime, asked with clicks.

The files are those of Segment Anything's export (Kirillov et al. 2023): an encoder of the picture,
and a decoder of ``image_embeddings``, ``point_coords``, ``point_labels``, ``mask_input``,
``has_mask_input`` and ``orig_im_size`` to ``masks`` and ``iou_predictions``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.results import digest, file_digest
from point2mask.label.mask_costs import mask_cost
from point2mask.label.picture import resized
from point2mask.label.size import Clicks

if TYPE_CHECKING:
    import onnxruntime

DECODER_INPUTS = (
    "image_embeddings",
    "point_coords",
    "point_labels",
    "mask_input",
    "has_mask_input",
    "orig_im_size",
)
DECODER_OUTPUTS = ["masks", "iou_predictions"]
SIDE = 1024  # pixels of the encoder's picture, where its file leaves them open
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's RGB
NEGATIVES = 8  # the nearest clicks of others that a target is told it is not at
INSIDE, OUTSIDE, NO_POINT = 1, 0, -1  # labels of points
KEPT = 64  # prompts whose costs stay with a picture: 1.2 MB each


class PromptableNetwork:
    """Encoder and decoder. Threads may share it.

    Attributes:
        side: pixels of the square that the encoder sees.
    """

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: with just two files ``*.onnx``, told apart by their inputs.

        Raises:
            DataError: other files, or networks of other inputs and outputs.
            ModuleNotFoundError: onnxruntime is not installed.
        """
        if not folder.is_dir():
            raise DataError(f"{folder}: expected the folder of a promptable network's ONNX files")
        self._paths = sorted(folder.glob("*.onnx"))
        if len(self._paths) != 2:
            found = ", ".join(path.name for path in self._paths) or "none"
            raise DataError(f"{folder}: expected two ONNX files, encoder and decoder, got {found}")
        sessions = [_session(path) for path in self._paths]
        decoders = [len(session.get_inputs()) > 1 for session in sessions]
        if sum(decoders) != 1:
            raise DataError(
                f"{folder}: expected an encoder of one input and a decoder of "
                f"{len(DECODER_INPUTS)}, got {len(sessions[0].get_inputs())} and "
                f"{len(sessions[1].get_inputs())}"
            )
        at = decoders.index(True)
        self._decoder, self._encoder = sessions[at], sessions[1 - at]
        _check_decoder(self._decoder, self._paths[at])
        self.side = _encoder_side(self._encoder, self._paths[1 - at])

    def digest(self) -> str:
        """Stands for both files."""
        return digest(*(file_digest(path) for path in self._paths))

    def prepare(self, image: NDArray[np.uint8], shape: tuple[int, int]) -> "PromptedPicture":
        """Runs the encoder.

        Args:
            image: ``uint8 [H, W, 3]``, RGB.
            shape: height and width that masks are wanted at, of about the proportions of the image.
        """
        scale = self.side / max(shape)
        size = int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5)
        size = max(1, size[0]), max(1, size[1])
        pixels = np.zeros((1, 3, self.side, self.side), np.float32)
        for channel in range(3):
            values = (resized(image[:, :, channel], size) - MEAN[channel]) / DEVIATION[channel]
            pixels[0, channel, : size[0], : size[1]] = values
        (embedding,) = self._run(self._encoder, [], {self._encoder.get_inputs()[0].name: pixels})
        if embedding.ndim != 4 or embedding.shape[0] != 1:
            raise DataError(
                f"{self._paths[0].parent}: expected embeddings [1, C, h, w] of the encoder, got "
                f"{list(embedding.shape)}"
            )
        return PromptedPicture(
            self, embedding, (size[1] / image.shape[1], size[0] / image.shape[0]), shape
        )

    def decode(
        self,
        embedding: NDArray[np.float32],
        points: NDArray[np.float32],
        labels: NDArray[np.float32],
        shape: tuple[int, int],
    ) -> NDArray[np.float32]:
        """Logits ``[h, w]`` of the mask that the decoder takes for its best.

        Args:
            embedding: of the picture.
            points: ``[P, 2]`` (x, y) in the encoder's picture, a pixel's centre at (x, y).
            labels: ``[P]``, INSIDE or OUTSIDE of the mask.
            shape: height and width of the mask.
        """
        rows, columns = 4 * embedding.shape[2], 4 * embedding.shape[3]
        masks, quality = self._run(
            self._decoder,
            DECODER_OUTPUTS,
            {
                "image_embeddings": embedding,
                # A point that is none stands for the box that is not given.
                "point_coords": np.concatenate([points, np.zeros((1, 2), np.float32)])[None],
                "point_labels": np.append(labels, np.float32(NO_POINT))[None],
                "mask_input": np.zeros((1, 1, rows, columns), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.array(shape, np.float32),
            },
        )
        if masks.ndim != 4 or masks.shape[2:] != shape or quality.shape != masks.shape[:2]:
            raise DataError(
                f"{self._paths[0].parent}: expected masks [1, M, {shape[0]}, {shape[1]}] and "
                f"iou_predictions [1, M] of the decoder, got {list(masks.shape)} and "
                f"{list(quality.shape)}"
            )
        logits = masks[0, quality[0].argmax()]
        if not np.isfinite(logits).all():
            raise DataError(f"{self._paths[0].parent}: expected finite masks of the decoder")
        return np.asarray(logits, np.float32)

    def _run(
        self, session: "onnxruntime.InferenceSession", outputs: list[str], inputs: dict[str, Any]
    ) -> list[NDArray[np.float32]]:
        try:
            return list(session.run(outputs or None, inputs))
        except Exception as error:  # onnxruntime raises a dozen types
            raise DataError(f"{self._paths[0].parent}: {_line(error)}") from error


class PromptedPicture:
    """One picture of which clicks ask; what was answered is kept. Not for two threads at a time."""

    def __init__(
        self,
        network: PromptableNetwork,
        embedding: NDArray[np.float32],
        scale: tuple[float, float],
        shape: tuple[int, int],
    ) -> None:
        """``scale``: pixels of the encoder's picture for one of the image, across and down."""
        self._network, self._embedding = network, embedding
        self._scale, self._shape = scale, shape
        self._kept: dict[bytes, NDArray[np.float32]] = {}  # the last used at the end

    def costs(
        self, targets: Sequence[Clicks], is_thing: Sequence[bool], rest: Clicks
    ) -> NDArray[np.float32]:
        """What every pixel costs each target, ``float32 [K, h, w]``; see :func:`mask_cost`.

        A thing is asked for by all of its clicks at once. The clicks of stuff may lie on separate
        pieces: each asks by itself, and a pixel costs what the likeliest of the pieces says.

        Args:
            targets: K targets with their clicks, pixels of the image.
            is_thing: of every target.
            rest: clicks on what belongs to nobody.
        """
        result = np.empty((len(targets), *self._shape), np.float32)
        for index, (own, thing) in enumerate(zip(targets, is_thing, strict=True)):
            others = [p for k, clicks in enumerate(targets) if k != index for p in clicks]
            asked = [own] if thing else [[click] for click in own]
            logits = [self._logits(inside, [*others, *rest]) for inside in asked]
            result[index] = mask_cost(np.max(logits, axis=0))
        return result

    def _logits(self, inside: Clicks, outside: Clicks) -> NDArray[np.float32]:
        points, labels = prompt(inside, outside, self._scale)
        key = points.tobytes() + labels.tobytes()
        logits = self._kept.pop(key, None)
        if logits is None:
            logits = self._network.decode(self._embedding, points, labels, self._shape)
        self._kept[key] = logits
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return logits


def prompt(
    inside: Clicks, outside: Clicks, scale: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points ``[P, 2]`` in the encoder's picture and their labels ``[P]``.

    Of the clicks outside the nearest :data:`NEGATIVES` count, in an order of their own, so that
    what is far away changes no prompt.
    """
    near = sorted(
        outside, key=lambda p: (min((p[0] - x) ** 2 + (p[1] - y) ** 2 for x, y in inside), p)
    )[:NEGATIVES]
    # The decoder adds half a pixel to what it takes for indices of pixels.
    points = np.array([*inside, *near], np.float64) * scale - 0.5
    labels = [INSIDE] * len(inside) + [OUTSIDE] * len(near)
    return points.astype(np.float32), np.array(labels, np.float32)


def _session(path: Path) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors alone: they come as exceptions too
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen types
        raise DataError(f"{path}: expected a network as ONNX, but {_line(error)}") from error


def _check_decoder(session: "onnxruntime.InferenceSession", path: Path) -> None:
    names = {one.name for one in session.get_inputs()}
    if names != set(DECODER_INPUTS):
        raise DataError(
            f"{path}: expected a decoder with the inputs {', '.join(DECODER_INPUTS)}, got "
            f"{', '.join(sorted(names))}"
        )
    outputs = {one.name for one in session.get_outputs()}
    if missing := set(DECODER_OUTPUTS) - outputs:
        raise DataError(
            f"{path}: expected a decoder with the outputs {' and '.join(DECODER_OUTPUTS)}, "
            f"there is no {min(missing)}"
        )
    _check_floats(session, path)


def _encoder_side(session: "onnxruntime.InferenceSession", path: Path) -> int:
    _check_floats(session, path)
    shape = session.get_inputs()[0].shape
    sides = {one if isinstance(one, int) else SIDE for one in shape[2:]}
    if len(shape) != 4 or shape[1] not in (3, None) or len(sides) != 1:
        raise DataError(
            f"{path}: expected an encoder of square pictures [1, 3, S, S], normalised and padded "
            f"outside of it, got {shape}"
        )
    (side,) = sides
    return side


def _check_floats(session: "onnxruntime.InferenceSession", path: Path) -> None:
    for one in session.get_inputs():
        if one.type != "tensor(float)":
            raise DataError(f"{path}: {one.name}: expected float32, got {one.type}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
