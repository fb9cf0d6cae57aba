"""Wrong values are refused when a recipe is read: all fields there are, and what goes together."""

import time
from dataclasses import fields, is_dataclass
from math import inf, nan, nextafter
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml

from point2mask import recipes
from point2mask.cli import main
from point2mask.data import DataError
from point2mask.data.fields import parse, to_plain
from point2mask.messages import shown
from point2mask.ranges import Range, fault, hints
from point2mask.train.config import RunConfig, load_config

RECIPES = {
    "panoptic_segformer": "voc_r50",
    "mask2former": "shapes_mask2former",
    "maskdino": "shapes_maskdino",
}


def union(kind: Any) -> tuple[Any, ...]:
    """The types that a value may have."""
    parts = get_args(kind) if get_origin(kind) in (Union, type(int | None)) else (kind,)
    return tuple(part for part in parts if part is not type(None))


def leaves(config: Any, place: str = "") -> list[tuple[str, Any]]:
    """Every field that holds no dataclass, by its path, with its type."""
    found = []
    for name, kind in hints(type(config)).items():
        path, value = f"{place}.{name}" if place else name, getattr(config, name)
        if is_dataclass(value):
            found += leaves(value, path)
        else:
            assert not any(is_dataclass(part) for part in union(kind)), f"{path}: not in the recipe"
            found.append((path, kind))
    return found


def bad(kind: Any, path: str) -> list[Any]:
    """Values that a field of the type must refuse: of other types, and just outside its limits."""
    limits: list[Any] = []
    if get_origin(kind) is Annotated:
        kind, *limits = get_args(kind)
    if type(None) in get_args(kind):
        return [value for value in bad(union(kind)[0], path) if value is not None]
    if get_origin(kind) is Literal:
        return ["centriod", 7, None, [get_args(kind)[0]]]
    if get_origin(kind) is tuple:
        return bad_lists(get_args(kind), limits, path)
    if kind is bool:
        return [7, "yes", None, 1.0]
    if kind is str:
        long = ["x" * (limit.high + 1) for limit in limits]
        return [7, None, ["x"], "a\nb", "a\x1b[31m", "", *long]
    assert kind in (int, float), f"{path}: no bad value is known of {kind}"
    spans = [limit for limit in limits if isinstance(limit, Range)]
    assert spans, f"{path}: a number without a range"
    span, wrong = spans[0], ["fast", None, True, [1], nan]
    if kind is int:
        return [*wrong, 1.5, int(span.low) - 1, int(span.high) + 1, 10**5000]
    low = span.low if span.open_low else nextafter(span.low, -inf)
    high = span.high if span.open_high else nextafter(span.high, inf)
    return [*wrong, low, *([high] if span.open_high or high > span.high else [])]


def bad_lists(parts: tuple[Any, ...], limits: list[Any], path: str) -> list[Any]:
    """Lists with one bad entry, with too many or too few, and what is no list."""
    same = parts[-1] is Ellipsis
    inner = bad(parts[0], f"{path}[0]")
    rest = [] if same else [1] * (len(parts) - 1)
    wrong = [7, "x", {"a": 1}, *([entry, *rest] for entry in inner)]
    if not same:
        return [*wrong, [], [1] * (len(parts) + 1)]
    for limit in limits:
        wrong += [[good(parts[0])] * (limit.high + 1), *([[]] if limit.low else [])]
    return wrong


def good(kind: Any) -> Any:
    """A value of a type of list entries."""
    if get_origin(kind) is tuple:
        return [good(part) for part in get_args(kind)]
    (span,) = (limit for limit in get_args(kind)[1:] if isinstance(limit, Range))
    return int(span.low)


def changed(plain: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    return {**plain, head: changed(plain[head], rest, value) if rest else value}


@pytest.mark.parametrize("architecture", RECIPES)
def test_every_field_refuses_bad_values_by_name(architecture):
    """All of a whole configuration: one without a range, a length or a choice fails here."""
    config = load_config(RECIPES[architecture], ["augment.crop=[64, 64]", "report.pictures=1"])
    assert config.network.architecture == architecture
    plain = to_plain(config)
    assert parse(RunConfig, plain) == config
    paths = leaves(config)
    assert len(paths) > 80
    assert {path.partition(".")[0] for path, _ in paths} == {f.name for f in fields(RunConfig)}
    for path, kind in paths:
        for value in bad(kind, path):
            try:
                parse(RunConfig, changed(plain, path, value))
            except DataError as error:
                message = str(error)
            else:
                message = "nothing"
            assert message.startswith(path), f"{path}={shown(value)}: {message}"
            assert len(message) < 600, path
            assert message.isprintable(), path


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("supervision.pseudo_masks.transport.supplies=centriod", "did you mean 'centroid'?"),
        (
            "supervision.pseudo_masks.transport.supplies=given",
            "expected one of centroid, uniform, ",
        ),
        ("supervision.pseudo_masks.assigner=transprot", "did you mean 'transport'?"),
        ("schedule.weight_decay=-1", "expected a number in [0, 10], got -1"),
        ("merge.mask_threshold=7", "expected a number in [0, 1), got 7"),
        ("report.evaluate_images=-4", "expected an integer in [1, 1000000000], got -4"),
        ("network.dropout=7", "expected a number in [0, 1), got 7"),
        ("schedule.learning_rate=1e30", "expected a number in (0, 10], got 1e+30"),
        ("schedule.learning_rate=.nan", "expected a number in (0, 10], got nan"),
        ("data.workers=4000", "expected an integer in [0, 128], got 4000"),
        ("schedule.milestones=[4, 4]", "expected epochs that ascend, got (4, 4)"),
        ("network.backbone.name=resnet5", "did you mean 'resnet"),
        ("network.backbone.name=resnet50.tv_in2k", "did you mean 'tv_in1k'?"),
        ("network.backbone.name=hf-hub:timm/resnet50", "none of another registry"),
        ("network.backbone.name=local-dir:/tmp/x", "none of another registry"),
        ("network.backbone.name=vit_tiny_patch16_224", "with features at strides (8, 16, 32), got"),
        ("network.backbone.pretrained=hob", "did you mean 'hub'?"),
        ("network.backbone.pretrained=no/such/file.pth", "expected one of none, hub, package, or"),
        ("network.backbone.pretrained=package", "expected name='tf_efficientnet_lite0' with"),
        ("network.backbone.window=7", "expected none for 'resnet50.tv2_in1k', which is no Swin"),
    ],
)
def test_one_line_names_the_key(override, message, capsys, tmp_path):
    """By the command, before it looks at data: there is none."""
    assert main(["train", "voc_r50", override, "--out", str(tmp_path / "run")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert override.partition("=")[0] in lines[0]
    assert message in lines[0]
    assert not (tmp_path / "run").exists()


def test_values_that_do_not_go_together():
    for overrides, message in (
        (
            ["schedule.accumulation=3"],
            r"^voc_r50: schedule\.batch_size: expected a multiple of accumulation",
        ),
        (
            ["data.train.annotations=null", "supervision.kind=masks"],
            r"^data\.train\.annotations: expected true masks for supervision\.kind=masks",
        ),
        (["data.train.points_per_segment=2"], r"^data\.train\.points_per_segment: expected 1"),
        (["data.val.annotations=null", "data.val.points=x"], r"^data\.val\.annotations: .* score"),
    ):
        with pytest.raises(DataError, match=message):
            load_config("voc_r50", overrides)


HOSTILE = {
    "deep lists": "data: " + "[" * 5000,
    "deep mappings": "data: " + "{a: " * 5000,
    "deep by indentation": "\n".join("  " * i + "a:" for i in range(400)),
    "aliases": "a: &a [1, 2]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
    "merged keys": "a: &a {x: 1}\nb: {<<: *a}\n",
    "many keys": "\n".join(f"k{i}: {i}" for i in range(40_000)),
    "one key again and again": "seed: 1\n" * 40_000,
    "a long number": "seed: " + "9" * 5000,
    "a long hexadecimal number": "seed: 0x" + "f" * 5000,
    "digits that end in a letter": "merge: {mask_threshold: '" + "1" * 100_000 + "x'}",
    "no such date": "seed: 2020-13-45",
    "a tag": "seed: !!python/object/apply:os.system [ls]",
    "large": "# " + "x" * 2_000_000,
    "an escape in a key": '"a\\u001b[31m\\nb": 1',
    "a list for a key": "? [a, b]\n: 1",
    "two documents": "seed: 1\n---\nseed: 2\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_line_in_no_time(name, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(HOSTILE[name])
    began = time.process_time()
    with pytest.raises(DataError) as error:
        load_config(path)
    assert time.process_time() - began < 10  # a minute and more before; no matter of speed
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 600


def test_the_file_is_named_where_the_key_is_of_it(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("network: {num_things: 1, num_stuff: 1}\nschedule: {epochs: x}\n")
    with pytest.raises(DataError, match=r"run\.yaml: data: expected a value, got none"):
        load_config(path)
    given = ["data.train.images=a", "data.train.annotations=b"]
    with pytest.raises(DataError, match=r"run\.yaml: schedule\.epochs: expected an integer"):
        load_config(path, given)
    with pytest.raises(DataError, match=r"^schedule\.epochs: expected an integer"):
        load_config(path, [*given, "schedule.epochs=y"])


def test_every_recipe_is_read():
    for name in recipes.summaries():
        # One takes the numbers of classes from its clicks, which are a user's.
        own = name == "own_clicks"
        config = load_config(name, ["network.num_things=1", "network.num_stuff=1"] if own else [])
        assert parse(RunConfig, yaml.safe_load(yaml.safe_dump(to_plain(config)))) == config


def test_types_of_choices_and_numbers():
    assert fault(float, 3) is None
    assert fault(float, True) is not None
    assert fault(int | None, None) is None
    assert fault(Literal[1, 2], True) is not None
    assert str(fault(Annotated[int, Range(1, 9, odd=True)], 4)).endswith(
        "expected an integer that is odd, in [1, 9], got 4"
    )
