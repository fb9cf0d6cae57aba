"""Checkpoints of tensors (safetensors) and plain values (JSON): loading one runs no code.

A checkpoint is a folder that appears under its name when all of it is on disk, so a run that is
killed at any moment leaves whole checkpoints only.
"""

import os
import random
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from point2mask.data.errors import DataError
from point2mask.data.files import open_regular, sync, write_json
from point2mask.data.json_files import read_json

MODEL, AVERAGE, OPTIMIZER, STATE = (
    "model.safetensors",
    "average.safetensors",
    "optimizer.safetensors",
    "state.json",
)
_NAME = re.compile(r"step_(\d{8})")


def checkpoint_name(step: int) -> str:
    return f"step_{step:08}"


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints in a folder, the last one last."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(path for path in found if (path / STATE).is_file())


def last_checkpoint(folder: Path) -> Path | None:
    found = checkpoints(folder)
    return found[-1] if found else None


class Writer:
    """Writes one checkpoint: made by every process, finished by the main one.

    All processes write into one folder beside the final one. Names of temporary folders are
    derived from the step, so that the processes agree; what a killed run left is removed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._final = folder / checkpoint_name(step)
        self.beside = folder / f".{self._final.name}.tmp"

    def start(self) -> None:
        """By the main process, before any other writes."""
        shutil.rmtree(self.beside, ignore_errors=True)
        self.beside.mkdir(parents=True)

    def finish(self, keep: int) -> Path:
        """By the main process, after all others have written; old checkpoints go."""
        sync(self.beside)
        if self._final.exists():  # of a run that was taken up from an earlier step
            old = self._final.with_name(f".{secrets.token_hex(8)}.tmp")
            os.replace(self._final, old)
        os.replace(self.beside, self._final)
        sync(self._final.parent)
        for path in checkpoints(self._final.parent)[:-keep]:
            # Renamed first: a checkpoint under its name is never half deleted.
            doomed = path.with_name(f".{path.name}.tmp")
            os.replace(path, doomed)
        for path in self._final.parent.glob(".*.tmp"):
            shutil.rmtree(path, ignore_errors=True)
        return self._final


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors to the disk, each by its name.

    Raises:
        OSError: the file cannot be written, or not all of it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    seen: set[int] = set()
    plain = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        # The format has no shared storage.
        plain[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    try:
        save_file(plain, path)
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from error
    sync(path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file, or a :class:`DataError` that names it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with open_regular(path, "tensors of a checkpoint"):
        pass
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise DataError(f"{path}: expected tensors of a checkpoint ({error})") from error
    return tensors


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], place: Path) -> None:
    """Loads a whole state dict; other names or shapes are errors that name one."""
    own = module.state_dict()
    for name in sorted(own.keys() ^ tensors.keys()):
        what = "a tensor" if name in own else "no tensor"
        raise DataError(f"{place}: expected {what} {name!r}; is it of another network?")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise DataError(
                f"{place}: expected {name!r} of shape {[*tensor.shape]}, "
                f"got {[*tensors[name].shape]}"
            )
    module.load_state_dict(dict(tensors))


def optimizer_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by kind and name of the parameter, ``exp_avg:neck.weight``."""
    return {
        f"{kind}:{name}": value
        for name, parameter in module.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(
    module: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], place: Path
) -> None:
    """Puts the state back; learning rates are no part of it, they follow from the epoch."""
    parameters = dict(module.named_parameters())
    for key, tensor in tensors.items():
        kind, _, name = key.partition(":")
        if name not in parameters:
            raise DataError(f"{place}: expected state of parameters of the network, got {key!r}")
        optimizer.state[parameters[name]][kind] = tensor.to(parameters[name].device)


def save_random_state(folder: Path, rank: int) -> None:
    """The generators of Python, NumPy and torch of one process."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    write_json(
        folder / f"random_{rank}.json",
        {
            "python": random.getstate(),
            "numpy": [kind, np.asarray(keys).tolist(), position, has_gauss, gauss],
        },
    )
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    save_tensors(folder / f"random_{rank}.safetensors", states)


def load_random_state(folder: Path, rank: int) -> None:
    values = read_json_value(folder / f"random_{rank}.json")
    version, keys, gauss = values["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(values["numpy"]))  # noqa: NPY002
    states = load_tensors(folder / f"random_{rank}.safetensors")
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def read_json_value(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint."""
    return read_json(path, dict[str, Any], "a JSON of a checkpoint")
