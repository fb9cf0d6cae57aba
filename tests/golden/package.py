"""What the commands write and how masks are grown, on generated pictures.

These bits also depend on torch and other libraries and on the kind of processor, so they are
recorded for each :func:`environment` that was tried.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from golden.inputs import digest, smooth
from safetensors.torch import load_file

from point2mask import ops
from point2mask.cli import main
from point2mask.pseudo_masks import PointBatch, PseudoMaskOptions, TransportOptions, pseudo_masks

LIBRARIES = ("torch", "numpy", "scipy", "scikit-image", "pillow", "timm", "transformers")
BACKBONE = {"name": "tf_efficientnet_lite0", "pretrained": "none", "freeze_stem": False}
CLASSES = {"num_things": 6, "num_stuff": 4}
NETWORKS: dict[str, dict[str, Any]] = {
    "panoptic_segformer": {
        **{"width": 32, "heads": 4, "points": 2, "feedforward": 48, "encoder_layers": 2},
        **{"location_layers": 2, "queries": 12, "thing_layers": 2, "stuff_layers": 2},
        **{"semantic_layers": 2, "feature_width": 8, "norm_groups": 8},
    },
    "mask2former": {
        **{"width": 64, "heads": 4, "feedforward": 48, "encoder_layers": 2, "decoder_layers": 2},
        **{"decoder_feedforward": 40, "queries": 12, "semantic_layers": 2, "feature_width": 8},
    },
}


def environment() -> str:
    """Libraries, the processor's model and the instructions that torch uses on it."""
    processor = platform.processor()
    if (information := Path("/proc/cpuinfo")).exists():
        lines = information.read_text().splitlines()
        names = (line.split(": ")[1] for line in lines if line.startswith("model name"))
        processor = next(names, processor)
    capability = torch.backends.cpu.get_cpu_capability()
    libraries = [f"{name} {version(name)}" for name in LIBRARIES]
    return ", ".join([*libraries, " ".join(platform.libc_ver()), processor, capability])


def digests(folder: Path) -> dict[str, str]:
    """Of all parts, worked out in a new folder on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        command("shapes", folder / "shapes", "--train=6", "--val=2", "--height=32", "--width=48")
        found = _grown() | _labels(folder)
        for network in NETWORKS:
            for kind in ("points", "masks"):
                found |= _trained(folder, network, kind)
        picture = smooth(40, 1, 3, 20, 30)
        return found | {"rgb_to_lab": digest([ops.rgb_to_lab(picture)])}
    finally:
        torch.set_num_threads(threads)


def command(*arguments: object) -> None:
    if main([str(argument) for argument in arguments]):
        raise RuntimeError(f"a command failed: {arguments}")


def _trained(folder: Path, network: str, kind: str) -> dict[str, str]:
    """Losses, quality and weights of three steps, of which two with optimal transport."""
    annotations = "annotations/panoptic_{}.json"
    recipe = {
        "data": {
            "root": str(folder / "shapes"),
            "train": {"images": "images/train", "annotations": annotations.format("train")},
            "val": {"images": "images/val", "annotations": annotations.format("val")},
            "workers": 0,
        },
        "network": {"architecture": network, "backbone": BACKBONE, **CLASSES, **NETWORKS[network]},
        "augment": {"short_sides": [32, 40], "max_side": 64, "test_short_side": 32},
        "supervision": {"kind": kind, "transport_warmup": 1},
        "schedule": {"epochs": 1, "milestones": [], "batch_size": 2, "ema_decay": 0.5},
    }
    name = f"{network} from {kind}"
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    run = folder / name.replace(" ", "_")
    command("train", path, "--out", run, "--device", "cpu")
    result = json.loads((run / "result.json").read_text())
    numbers = {key: result[key] for key in ("losses", "quality")}
    (checkpoint,) = (run / "checkpoints").iterdir()
    found = {f"{name}: losses and quality": digest([json.dumps(numbers, sort_keys=True).encode()])}
    for file in sorted(checkpoint.glob("*.safetensors")):
        tensors = load_file(file)
        constants = ("backbone.mean", "backbone.std")
        learned = sorted(key for key in tensors if not key.endswith(constants))
        values = [part for key in learned for part in (key.encode(), tensors[key])]
        found[f"{name}: {file.name}"] = digest(values)
    return found


def _labels(folder: Path) -> dict[str, str]:
    """Every picture and JSON of the masks from clicks, by every way that needs no network."""
    truth, points = folder / "shapes/annotations/panoptic_train.json", folder / "points.json"
    command("points", "sample", "--annotations", truth, "--out", points)
    found = {"points": digest([points.read_bytes()])}
    for assigner in ("merge", "watershed", "shortest_path", "transport"):
        out = folder / f"labels_{assigner}"
        command(
            *("label", "--images", folder / "shapes/images/train", "--points", points),
            *("--out", out, "--assigner", assigner, "--workers", 1),
        )
        pictures = [*out.glob("panoptic/*"), *out.glob("overlays/*")]
        files = sorted([out / "panoptic.json", *pictures])
        found[f"label by {assigner}"] = digest(
            part for path in files for part in (path.name.encode(), path.read_bytes())
        )
    return found


def _grown() -> dict[str, str]:
    """Masks on made maps: two images of different sizes, one target with two clicks."""
    semantic = smooth(41, 2, 6, 64, 96) + 1 / 64
    semantic /= semantic.sum(1, keepdim=True)
    feature = torch.nn.functional.normalize(smooth(42, 2, 8, 32, 48) - 0.5, dim=1)
    targets = [(0, [(10.0, 12.0)]), (1, [(70.5, 40.0), (80.0, 50.0)]), (0, [(33.0, 55.0)])]
    points = PointBatch.from_lists([[*targets, (4, [(50.0, 5.0)])], targets[:2]])
    found = {}
    for assigner in ("nearest", "shortest_path", "transport"):
        options = PseudoMaskOptions(
            assigner=assigner, transport=TransportOptions(iterations=40), stride=4, point_size=5
        )
        grown = pseudo_masks(
            semantic,
            points,
            torch.arange(6) < 4,
            boundary_logits=smooth(43, 2, 64, 96),
            feature=feature,
            low_level=smooth(44, 2, 64, 96),
            image_size=torch.tensor([[64, 96], [60, 88]]),
            options=options,
        )
        fields = (grown.instance, grown.semantic, grown.panoptic, grown.area, grown.box)
        found[f"pseudo_masks by {assigner}"] = digest(fields)
    return found
