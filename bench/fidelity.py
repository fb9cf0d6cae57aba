"""How much each difference from the published code weighs, on its golden data.

    python bench/fidelity.py [DATA]     # DATA/published, default ../shared/data

Every row goes back to ours in one place, with all else as published. What no golden data show is
measured on tables, pictures and clicks: bilinear resizing with and without antialiasing on the
photographs of DATA/penn_fudan, clicks resized as PNGs by the nearest pixel.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from published_networks import Golden, golden_network  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from timm.layers import resize_rel_pos_bias_table  # noqa: E402
from torch import Tensor  # noqa: E402

from point2mask import ops  # noqa: E402
from point2mask.data import read_rgb  # noqa: E402
from point2mask.losses import SegformerLossConfig  # noqa: E402
from point2mask.models import BackboneConfig  # noqa: E402
from point2mask.models.backbone import Backbone  # noqa: E402
from point2mask.models.published import from_published  # noqa: E402
from point2mask.models.swin import resize_bias_tables  # noqa: E402
from point2mask.pseudo_masks import PointBatch, PseudoMasks, SupervisionConfig  # noqa: E402
from point2mask.train.module import TrainingModule  # noqa: E402

STEPS = (5000, 13000)  # one of either phase
SUPERVISION = SupervisionConfig(transport_warmup=12000, published=True)
LOSSES = SegformerLossConfig(published=True)
TABLE = "relative_position_bias_table"
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
            moved_by = {k: float(v) / wanted[k] - 1 for k, v in losses.items()}
            shown = ", ".join(f"{k} {100 * v:+.2f} %" for k, v in moved_by.items() if abs(v) > 1e-4)
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


def processes(data: Path) -> None:
    """Losses of two processes with an image each: divided as published, and by all counts."""
    golden = Golden.read(data / "published" / "golden")
    network = golden_network(data, pytest.MonkeyPatch(), published=True)
    module = TrainingModule(network, LOSSES, SUPERVISION)
    category = golden.batch.points.category
    things = [int(((row >= 0) & golden.batch.is_thing[row]).sum()) for row in category]
    print("\ntwo processes of one image: losses as published / by the counts of all - 1")
    for step in STEPS:
        together, masks = step_of(module, golden, step)
        mean = sum(things) / len(things)
        total = dict.fromkeys(together, 0.0)
        for b, own in enumerate(things):
            one = slice(b, b + 1)
            batch = replace(
                golden.batch,
                images=golden.batch.images[one],
                image_size=golden.batch.image_size[one],
                points=PointBatch(golden.batch.points.xy[one], category[one]),
                names=golden.batch.names[one],
            )
            losses, _ = step_of(module, replace(golden, batch=batch), step)
            stuff = masks.semantic[b][masks.semantic[b] >= 3].unique().numel()
            # tests/train/test_processes.py holds two processes to these factors.
            shared = (own + stuff) / (mean + stuff)
            for name, loss in losses.items():
                factor = {"thing": shared, "stuff": shared, "semantic": shared * mean / own}
                total[name] += float(loss) * factor.get(name.partition("_")[0], 1.0) / len(things)
        apart = {k: total[k] / float(v) - 1 for k, v in together.items()}
        print(f"  step {step}:", ", ".join(f"{k} {100 * v:+.1f} %" for k, v in apart.items()))


def small_swin(config: BackboneConfig, published: bool, patch: pytest.MonkeyPatch) -> Backbone:
    create = timm.create_model
    with patch.context() as own:
        own.setattr(timm, "create_model", lambda name, **options: create(name, **SWIN, **options))
        return Backbone(config, published=published).eval()


def swin(data: Path) -> None:
    heads = load_file(data / "published" / "golden" / "weights.safetensors")
    state = load_file(data / "published" / "golden_swin" / "weights.safetensors")
    heads = {name: tensor for name, tensor in heads.items() if not name.startswith("backbone.")}
    tensors, _ = from_published(heads | state)
    own = {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
    config = BackboneConfig(
        name="swin_tiny_patch4_window7_224", pretrained="none", freeze_stem=False
    )
    golden = load_file(data / "published" / "golden_swin" / "data.safetensors")
    sizes = ("224x224", "224x320", "150x200")
    print("\nSwin, windows: mean difference of features in their standard deviations")
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        for published in (True, False):
            backbone = small_swin(config, published, patch)
            backbone.load_state_dict(own)
            for size in sizes:
                maps = backbone(golden[f"{size}.image"].float())
                name = "as published" if published else "timm"
                wanted = [golden[f"{size}.stride{s}"] for s in (8, 16, 32)]
                print(f"  {name:12} {size}", *map("{:.4f}".format, apart(maps, wanted)))
        backbone = small_swin(config, True, patch)
        tables = {name: tensor for name, tensor in own.items() if name.endswith(TABLE)}
        print("\nSwin, tables 12 to 7: difference in sd of the tables; of features, as above")
        for kind, of_12 in (("noise", noise_tables(tables)), ("smooth", smooth_tables(tables))):
            bicubic = resize_bias_tables(of_12, 7)
            centred = {
                name: resize_rel_pos_bias_table(table, (7, 7), bicubic[name].shape)
                for name, table in of_12.items()
            }
            table = [
                float((centred[name] - bicubic[name]).abs().mean() / bicubic[name].std())
                for name in of_12
            ]
            for size in sizes:
                found = []
                for chosen in (bicubic, centred):
                    backbone.load_state_dict(own | chosen)
                    found.append(backbone(golden[f"{size}.image"].float()))
                mean = f"{sum(table) / len(table):.3f}"
                print(f"  {kind:12} {size}", mean, *map("{:.4f}".format, apart(*found[::-1])))


def apart(maps: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[float]:
    return [float((x - y).abs().mean()) / float(y.std()) for x, y in zip(maps, wanted, strict=True)]


def noise_tables(tables: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tables of window 12 without any relation of neighbours, with a standard deviation of 1."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(23**2, table.shape[1], generator=generator)
        for name, table in tables.items()
    }


def smooth_tables(tables: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same, but smooth: a bump of a few cells around a place near the centre for every head."""
    generator = torch.Generator().manual_seed(0)
    step = torch.arange(23.0) - 11
    made = {}
    for name, table in tables.items():
        heads = table.shape[1]
        y, x = 3 * torch.randn(2, heads, generator=generator)
        width = 2 + 4 * torch.rand(heads, generator=generator)
        square = (step[:, None, None] - y) ** 2 + (step[:, None] - x) ** 2
        bump = torch.exp(-square / (2 * width**2)).flatten(0, 1)
        made[name] = bump / bump.std()
    return made


def pictures(data: Path) -> None:
    """What antialiasing changes where pictures shrink."""
    print("\nresizing photographs: mean difference in grey levels, of 255")
    files = sorted((data / "penn_fudan" / "images").rglob("*.*g"))[:20]
    for factor in (1.6, 0.9, 0.75, 0.5):
        found = []
        for file in files:
            x = torch.from_numpy(read_rgb(file).copy()).permute(2, 0, 1)[None].float()
            size = [round(factor * length) for length in x.shape[-2:]]
            plain, smooth = (
                F.interpolate(x, size, mode="bilinear", antialias=antialias)
                for antialias in (False, True)
            )
            found.append(float((plain - smooth).abs().mean()))
        print(f"  x {factor}: {sum(found) / len(found):.2f} over {len(files)}")


def frames(data: Path) -> None:
    """Cells of photographs that are like black, which their neighbours outside count as."""
    files = sorted((data / "coco_mini" / "images").rglob("*.jpg"))
    near, cells, touched = 0, 0, 0
    for file in files:
        x = torch.from_numpy(read_rgb(file).copy()).permute(2, 0, 1)[None].float() / 255
        lab = ops.rgb_to_lab(F.interpolate(x, scale_factor=1 / 8, mode="area"))[0]
        like = torch.exp(-lab.norm(dim=0) / 2) >= 0.3  # the threshold of pairs
        frame = torch.ones_like(like)
        frame[4:-4, 4:-4] = False  # the larger window reaches four cells far
        near, cells = near + int((like & frame).sum()), cells + int(frame.sum())
        touched += bool((like & frame).any())
    print(f"\ncells near the frame that are like black: {100 * near / cells:.2f} % of {cells},")
    print(f"  in {touched} of {len(files)} photographs")


def clicks() -> None:
    """Clicks as single pixels of a PNG that is resized by the nearest pixel, as OpenCV does it."""
    print("\nclicks in PNGs: share that is lost, and pixels of one that is not")
    for old, new in (((375, 500), (600, 800)), ((480, 640), (800, 1067)), ((640, 480), (640, 480)),
                     ((600, 800), (480, 640))):  # fmt: skip
        kept = [
            torch.bincount((torch.arange(n) * (o / n)).long().clamp(max=o - 1), minlength=o)
            for o, n in zip(old, new, strict=True)
        ]
        pixels = (kept[0][:, None] * kept[1]).float()
        lost = float((pixels == 0).float().mean())
        print(f"  {old} to {new}: {100 * lost:.0f} %, {float(pixels[pixels > 0].mean()):.2f}")


if __name__ == "__main__":
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data"
    for folder in ("golden", "golden_150x200"):
        losses_and_masks(data, folder)
    processes(data)
    swin(data)
    pictures(data)
    frames(data)
    clicks()
