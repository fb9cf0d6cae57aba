"""Checkpoints of tensors (safetensors) and plain values (JSON): loading one runs no code.

A checkpoint is a folder that appears under its name when all of it is on disk, so a run that is
killed at any moment leaves whole checkpoints only. It holds the digests of its files, by which a
disk that lost some of them is found out.
"""

import hashlib
import os
import random
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from point2mask.data.errors import DataError
from point2mask.data.files import one_line, open_regular, sync, temporary_name, write_json
from point2mask.data.json_files import read_json
from point2mask.messages import shown

MODEL, AVERAGE, OPTIMIZER, STATE, DIGESTS = (
    "model.safetensors",
    "average.safetensors",
    "optimizer.safetensors",
    "state.json",
    "digests.json",
)
_NAME = re.compile(r"step_(\d{8,})")
_MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW, a number for every one of a parameter
_STEPS = "step"

FileName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]+\.(json|safetensors)$")]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Number = Annotated[int, msgspec.Meta(ge=0)]


class State(msgspec.Struct):
    """What ``state.json`` says of a run: how far it is, and of what."""

    step: Number
    seconds: Annotated[float, msgspec.Meta(ge=0)]
    empty: Number  # parts of steps without a click, which were skipped
    learned: Number  # steps of the present epoch that changed the network
    processes: Annotated[int, msgspec.Meta(ge=1)]
    images: Annotated[int, msgspec.Meta(ge=1)]
    categories: list[dict[str, Any]]
    config: dict[str, Any]
    broken: dict[str, str]  # images that could not be read, and why
    losses: dict[str, float] = {}  # of the last line of the report


def checkpoint_name(step: int) -> str:
    return f"step_{step:08}"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the last one last; whether one is whole its digests say."""
    if not folder.is_dir():
        return []
    found = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted((int(match[1]), path) for match, path in found)]


def last_checkpoint(folder: Path) -> Path | None:
    found = checkpoints(folder)
    return found[-1] if found else None


def last_whole_checkpoint(folder: Path) -> tuple[Path | None, dict[Path, str]]:
    """The last checkpoint whose files are as they were written, and why those after it are not.

    Raises:
        DataError: there are checkpoints, and all are damaged.
    """
    damaged: dict[Path, str] = {}
    for path in reversed(checkpoints(folder)):
        try:
            check_digests(path)
        except DataError as error:
            damaged[path] = str(error)
        else:
            return path, damaged
    if damaged:
        reason = next(iter(damaged.values()))
        raise DataError(f"{reason}; no whole checkpoint is left in {folder}")
    return None, damaged


def write_digests(folder: Path) -> None:
    """Writes the SHA-256 of all files of a checkpoint into another file of it."""
    write_json(folder / DIGESTS, {path.name: _digest(path) for path in sorted(folder.iterdir())})


def check_digests(folder: Path) -> None:
    """That the files of a checkpoint are as they were written.

    Raises:
        DataError: one is missing or has other bytes; its name.
    """
    digests = read_json(folder / DIGESTS, dict[FileName, Digest], "the digests of a checkpoint")
    for name in {STATE, MODEL, OPTIMIZER} - digests.keys():
        raise DataError(f"{folder / DIGESTS}: expected a digest of {name}, got none")
    for name, digest in digests.items():
        if _digest(folder / name) != digest:
            raise DataError(
                f"{folder / name}: expected the bytes that were written, but it is damaged"
            )


def set_aside(checkpoint: Path) -> None:
    """Gives a checkpoint a name under which none is looked for."""
    aside = checkpoint.with_name(f"{checkpoint.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(checkpoint, aside)


def write_state(folder: Path, state: State) -> None:
    write_json(folder / STATE, msgspec.to_builtins(state))


def read_state(folder: Path) -> State:
    """The state of a checkpoint; a :class:`DataError` if it is not one."""
    path = folder / STATE
    state = read_json(path, State, "the state of a run")
    match = _NAME.fullmatch(folder.name)
    if match and int(match[1]) != state.step:
        raise DataError(f"{path}: step: expected that of the folder, {match[1]}, got {state.step}")
    return state


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
        write_digests(self.beside)
        sync(self.beside)
        if self._final.exists():  # of a run that was taken up from an earlier step
            old = temporary_name(self._final)
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
        reason = one_line(str(error))
        raise DataError(f"{path}: expected tensors of a checkpoint ({reason})") from error
    return tensors


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], place: Path) -> None:
    """Loads a whole state dict; what :func:`check_tensors` refuses is an error."""
    check_tensors(module.state_dict(), tensors, place)
    module.load_state_dict(dict(tensors))


def check_tensors(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], place: Path) -> None:
    """That tensors from a file can take the places of ``own``.

    Raises:
        DataError: other names, shapes or types, or numbers that are not finite; names one.
    """
    for name in sorted(own.keys() ^ tensors.keys()):
        what = "a tensor" if name in own else "no tensor"
        raise DataError(f"{place}: expected {what} {name!r}; is it of another network?")
    for name, tensor in own.items():
        _check_tensor(name, tensors[name], tensor.shape, tensor.dtype, place)


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
    """Puts the state back; learning rates are no part of it, they follow from the epoch.

    Raises:
        DataError: it is no state of AdamW for parameters of the module.
    """
    parameters = dict(module.named_parameters())
    names = set()
    for key, tensor in tensors.items():
        kind, _, name = key.partition(":")
        if name not in parameters or kind not in (*_MOMENTS, _STEPS):
            raise DataError(
                f"{place}: expected state of parameters of the network, got {shown(key)}"
            )
        own = parameters[name]
        shape = own.shape if kind in _MOMENTS else torch.Size([])
        _check_tensor(key, tensor, shape, own.dtype if kind in _MOMENTS else torch.float32, place)
        names.add(name)
    for name in sorted(names):
        state = {}
        for kind in (*_MOMENTS, _STEPS):
            if f"{kind}:{name}" not in tensors:
                raise DataError(f"{place}: expected a tensor '{kind}:{name}', got none")
            state[kind] = tensors[f"{kind}:{name}"]
        if state[_STEPS] < 1 or bool((state["exp_avg_sq"] < 0).any()):
            raise DataError(f"{place}: expected positive steps and squares of {name!r}, got others")
        device = parameters[name].device
        optimizer.state[parameters[name]].update(
            {kind: value.to(device) for kind, value in state.items()}
        )


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
    """Puts the generators back; a :class:`DataError` if the files do not say how."""
    path = folder / f"random_{rank}.json"
    values = read_json_value(path)
    states = load_tensors(folder / f"random_{rank}.safetensors")
    try:
        version, keys, gauss = values["python"]
        random.setstate((version, tuple(keys), gauss))
        np.random.set_state(tuple(values["numpy"]))  # noqa: NPY002
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and torch.cuda.is_available():
            torch.cuda.set_rng_state(states["cuda"])
    except (LookupError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason = " ".join(f"{error}".split())
        raise DataError(f"{path}: expected the states of generators ({reason})") from error


def read_json_value(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint."""
    return read_json(path, dict[str, Any], "a JSON of a checkpoint")


def _check_tensor(
    name: str, tensor: Tensor, shape: torch.Size, dtype: torch.dtype, place: Path
) -> None:
    if tensor.shape != shape:
        raise DataError(f"{place}: expected {name!r} of shape {[*shape]}, got {[*tensor.shape]}")
    if tensor.dtype != dtype:
        types = [str(kind).removeprefix("torch.") for kind in (dtype, tensor.dtype)]
        raise DataError(f"{place}: expected {name!r} of {types[0]}, got {types[1]}")
    if not tensor.isfinite().all():
        raise DataError(f"{place}: expected finite numbers in {name!r}, got NaN or infinity")


def _digest(path: Path) -> str:
    with open_regular(path, "a file of a checkpoint") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
