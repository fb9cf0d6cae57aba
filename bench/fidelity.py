"""How much each difference from the published code weighs, on its golden data.

    python bench/fidelity.py [DATA]     # DATA/published, default ../shared/data

Every row goes back to ours in one place, with all else as published.
"""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from published_networks import Golden, golden_network  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch import Tensor  # noqa: E402

from point2mask.losses import SegformerLossConfig  # noqa: E402
from point2mask.models import BackboneConfig  # noqa: E402
from point2mask.models.backbone import Backbone  # noqa: E402
from point2mask.models.published import from_published  # noqa: E402
from point2mask.pseudo_masks import PseudoMasks, SupervisionConfig  # noqa: E402
from point2mask.train.module import TrainingModule  # noqa: E402

STEPS = (5000, 13000)  # one of either phase
SUPERVISION = SupervisionConfig(transport_warmup=12000, published=True)
LOSSES = SegformerLossConfig(published=True)
SWIN = {"embed_dim": 16, "depths": (2, 2, 4, 2), "num_heads": (2, 4, 8, 16)}


@torch.no_grad()
def step_of(
    module: TrainingModule, golden: Golden, step: int
) -> tuple[dict[str, Tensor], PseudoMasks]:
    result: tuple[dict[str, Tensor], PseudoMasks] = module.eval()(golden.batch, step)
    return result


def losses_and_masks(data: Path, folder: str) -> None:
    golden = Golden.read(data / "published" / folder)
    networks = {
        published: golden_network(data, pytest.MonkeyPatch(), published=published)
        for published in (True, False)
    }
    variants = {
        "published": TrainingModule(networks[True], LOSSES, SUPERVISION),
        "grids": TrainingModule(networks[False], LOSSES, SUPERVISION),
        "losses": TrainingModule(networks[True], SegformerLossConfig(), SUPERVISION),
        "first phase": TrainingModule(
            networks[True], LOSSES, replace(SUPERVISION, published=False)
        ),
        "ours": TrainingModule(networks[False], SegformerLossConfig(), SupervisionConfig()),
    }
    for step in STEPS:
        wanted = golden.losses[str(step)]
        print(f"\n{folder}, step {step}: pixels of things that differ, losses / published - 1")
        for name, module in variants.items():
            losses, masks = step_of(module, golden, step)
            expected = [golden.tensors[f"step{step}.instance.{b}"] for b in range(2)]
            moved = sum(int((m != e).sum()) for m, e in zip(masks.instance, expected, strict=True))
            apart = {k: float(v) / wanted[k] - 1 for k, v in losses.items()}
            shown = ", ".join(f"{k} {100 * v:+.2f} %" for k, v in apart.items() if abs(v) > 1e-4)
            print(f"  {name:12} {moved:6} of {masks.instance.numel()}; {shown or 'all equal'}")
    batch = golden.batch
    outputs = []
    with torch.no_grad():
        for network in networks.values():
            output = network(network.normalise(batch.images), batch.image_size)
            outputs.append(
                {
                    "class logits": output.locations.class_logits,
                    "boxes": output.locations.boxes,
                    "stuff masks": output.stuff.masks,
                    "semantic maps": output.semantics.logits,
                    "boundary": output.boundary_logits,
                }
            )
    print(f"\n{folder}: grids, mean difference of outputs in their standard deviations")
    for name, published in outputs[0].items():
        difference = (outputs[1][name] - published).abs().mean() / published.std()
        print(f"  {name:14} {float(difference):.3f}")


def swin(data: Path) -> None:
    heads = load_file(data / "published" / "golden" / "weights.safetensors")
    state = load_file(data / "published" / "golden_swin" / "weights.safetensors")
    heads = {name: tensor for name, tensor in heads.items() if not name.startswith("backbone.")}
    tensors, _ = from_published(heads | state)
    own = {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
    config = BackboneConfig(
        name="swin_tiny_patch4_window7_224", pretrained="none", freeze_stem=False
    )
    create = timm.create_model
    golden = load_file(data / "published" / "golden_swin" / "data.safetensors")
    print("\nSwin, windows: mean difference of features in their standard deviations")
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(timm, "create_model", lambda name, **options: create(name, **SWIN, **options))
        for published in (True, False):
            backbone = Backbone(config, published=published).eval()
            backbone.load_state_dict(own)
            for size in ("224x224", "224x320", "150x200"):
                maps = backbone(golden[f"{size}.image"].float())
                apart = [
                    float((x - golden[f"{size}.stride{s}"]).abs().mean())
                    / float(golden[f"{size}.stride{s}"].std())
                    for x, s in zip(maps, (8, 16, 32), strict=True)
                ]
                name = "as published" if published else "timm"
                print(f"  {name:12} {size}", *map("{:.4f}".format, apart))


if __name__ == "__main__":
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data"
    for folder in ("golden", "golden_150x200"):
        losses_and_masks(data, folder)
    swin(data)
