"""Networks to share: a folder of weights and a configuration, on disk or on the Hugging Face hub.

A folder has ``model.safetensors`` and ``config.json``, all that prediction and masks from
clicks need and nothing else of the training. Loading one runs no code of it.
"""

import io
import json
import os
import re
import shutil
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from point2mask.checkpoint import load_tensors, read_json_value, save_tensors
from point2mask.data.errors import DataError
from point2mask.data.fields import parse, to_plain
from point2mask.data.files import write_bytes, write_json
from point2mask.data.training import class_channels
from point2mask.messages import shown
from point2mask.models.export import export_network
from point2mask.models.precision import Precision
from point2mask.predict import Predictor
from point2mask.trained import (
    TrainedConfig,
    categories_from_plain,
    check_classes,
    load_network,
    load_trained,
    without_download,
)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FORMAT = "point2mask 2"
ON_HUB = r"[\w.-]+/[\w.-]+"  # USER/NAME


def load_predictor(
    path: str | Path, device: str = "cpu", precision: Precision = "float32"
) -> Predictor:
    """What predicts with the network on disk: of :func:`save_pretrained`, or of a training run.

    Args:
        path: folder of :func:`save_pretrained`, of a run, or of one of its checkpoints.
        device: where its network is put.
        precision: that it computes in.

    Raises:
        DataError: there is no network in the folder, or it is broken.
    """
    pretrained = (Path(path) / CONFIG).is_file()
    predictor = from_pretrained(path) if pretrained else load_trained(path)
    predictor.network.to(device)
    return replace(predictor, precision=precision)


def save_pretrained(predictor: Predictor, folder: str | Path) -> None:
    """Writes the two files; the configuration, written last, makes the folder whole.

    Args:
        predictor: of :func:`load_predictor`.
        folder: made if it is not there; other files in it stay.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    network = predictor.network
    model = TrainedConfig(
        network=without_download(network.config),
        augment=predictor.augmentation,
        merge=predictor.merge,
        supervision=predictor.supervision,
    )
    # A configuration never lies beside the weights of another network.
    (folder / CONFIG).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as beside:
        save_tensors(Path(beside) / WEIGHTS, network.state_dict())
        os.replace(Path(beside) / WEIGHTS, folder / WEIGHTS)
    write_json(
        folder / CONFIG,
        {
            "format": FORMAT,
            **to_plain(model),
            "categories": [to_plain(category) for category in predictor.categories.values()],
        },
    )


def from_pretrained(
    source: str | Path, *, revision: str | None = None, token: str | None = None
) -> Predictor:
    """The network of a folder or of a repository on the hub, on the CPU in evaluation mode.

    Args:
        source: a folder of :func:`save_pretrained`, or ``USER/NAME`` on the hub, which is
            downloaded into its cache once.
        revision: branch, tag or commit on the hub.
        token: for a repository that is not public.

    Raises:
        DataError: no such folder and no name on the hub, or a folder that is not whole or not of
            this format.
        huggingface_hub.errors.HfHubHTTPError: the hub has no such repository.
        huggingface_hub.errors.LocalEntryNotFoundError: the hub cannot be reached.
    """
    folder = Path(source)
    if not folder.is_dir():
        if not re.fullmatch(ON_HUB, str(source)):
            raise DataError(
                f"{source}: expected a folder of save_pretrained, or USER/NAME on the hub, but "
                "there is no such folder"
            )
        from huggingface_hub import snapshot_download

        folder = Path(
            snapshot_download(
                str(source), revision=revision, token=token, allow_patterns=[CONFIG, WEIGHTS]
            )
        )
    values = _read_config(folder / CONFIG)
    names = [entry.name for entry in fields(TrainedConfig)]
    try:
        model = parse(TrainedConfig, {name: values[name] for name in names})
        categories = categories_from_plain(values["categories"])
    except DataError as error:
        raise DataError(f"{folder / CONFIG}: {error}") from error
    check_classes(model.network, categories, folder / CONFIG)
    weights = folder / WEIGHTS
    return Predictor(
        load_network(model.network, load_tensors(weights), weights),
        categories,
        model.augment,
        model.merge,
        model.supervision,
    )


def save_exported(predictor: Predictor, path: str | Path, size: tuple[int, int]) -> None:
    """Writes the program of :func:`~point2mask.models.export.export_network`, on the CPU.

    The extra file ``classes.json`` in it has the categories in the order of the class logits, first
    the things, then the stuff. Read both with::

        import point2mask.ops  # the program calls one of its operators

        extra = {"classes.json": ""}
        network = torch.export.load("network.pt2", extra_files=extra).module()

    Args:
        predictor: of :func:`load_predictor`; its network is moved to the CPU.
        path: a name that ends in ``.pt2``; folders are made.
        size: height and width, in pixels, of the pictures that the program takes.

    Raises:
        ValueError: the size is not positive.
    """
    categories = [predictor.categories[id] for id in class_channels(predictor.categories)]
    classes = json.dumps([to_plain(category) for category in categories], ensure_ascii=False)
    program = export_network(predictor.network.cpu(), size)
    encoded = io.BytesIO()  # on a full disk, saving to a file would end the process
    torch.export.save(program, encoded, extra_files={"classes.json": classes})
    write_bytes(Path(path), encoded.getvalue())


def push_to_hub(
    predictor: Predictor,
    repository: str,
    *,
    private: bool = False,
    message: str = "Point2Mask network",
    token: str | None = None,
) -> str:
    """Uploads the two files to ``USER/NAME`` on the hub, which is made if need be.

    Returns:
        The address of the commit.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    folder = tempfile.mkdtemp()
    try:
        save_pretrained(predictor, folder)
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=message,
            allow_patterns=[CONFIG, WEIGHTS],
        )
    finally:
        shutil.rmtree(folder)
    return str(commit.commit_url)


def _read_config(path: Path) -> dict[str, Any]:
    values = read_json_value(path)
    if values.get("format") != FORMAT:
        raise DataError(f"{path}: expected format {FORMAT!r}, got {shown(values.get('format'))}")
    for key in (*(entry.name for entry in fields(TrainedConfig)), "categories"):
        if not isinstance(values.get(key), list if key == "categories" else dict):
            raise DataError(f"{path}: expected an entry {key!r}, got {values.get(key)!r:.60}")
    return values
