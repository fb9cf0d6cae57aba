"""Sweeps: their rows, runs that fail or go on, and the figures side by side."""

import json
from dataclasses import replace

import pytest
import runs

from point2mask.checkpoint import checkpoints
from point2mask.data import DataError
from point2mask.train.config import load_config, save_config
from point2mask.train.sweep import (
    TABLES,
    Trial,
    TrialOutcome,
    Variant,
    finished,
    plan,
    rows,
    sweep,
    vary,
)
from point2mask.train.train import train


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The file of a run of 3 steps, which is scored on 2 images."""
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root)
    made = runs.config(root)
    made = replace(
        made,
        data=replace(made.data, val=runs.source("val")),
        schedule=replace(made.schedule, epochs=1),
        report=replace(made.report, pictures=0, checkpoint_steps=1),
    )
    save_config(root / "run.yaml", made)
    return root / "run.yaml"


def test_the_table_of_supervisions(config, tmp_path):
    overrides = ["supervision.pseudo_masks.transport.supplies=uniform", "supervision.kind=masks"]
    trials = plan(config, overrides, TABLES["supervision"], tmp_path, [])
    seen = [
        (t.folder.name, s.kind, t.config.data.train.points_per_segment, s.pseudo_masks.assigner)
        for t in trials
        if (s := t.config.supervision)
    ]
    assert seen == [
        ("M_seed0", "masks", 1, "transport"),
        ("P10_seed0", "points", 10, "transport"),
        ("P1_seed0", "points", 1, "transport"),
        ("P1_shortest_path_seed0", "points", 1, "shortest_path"),
        ("P1_nearest_seed0", "points", 1, "nearest"),
    ]
    assert {t.config.supervision.pseudo_masks.transport.supplies for t in trials} == {"uniform"}


def test_the_tables_of_constants(config, tmp_path):
    def options(table):
        trials = plan(config, [], TABLES[table], tmp_path, [4, 2])
        assert [t.config.seed for t in trials] == sorted((4, 2) * (len(trials) // 2), reverse=True)
        assert all(t.config.supervision.kind == "points" for t in trials)
        masks = [t.config.supervision.pseudo_masks for t in trials[: len(trials) // 2]]
        assert all(options.assigner == "transport" for options in masks)
        return masks

    assert [o.transport.iterations for o in options("iterations")] == [40, 60, 80, 100, 120]
    assert [o.boundary_weight for o in options("beta")] == [1, 0.5, 0.2, 0.1, 0.05, 0.01]


def test_rows_for_the_values_of_a_key():
    assert vary("a.b=1,x/y") == (Variant("b=1", ("a.b=1",)), Variant("b=x/y", ("a.b=x/y",)))
    assert [v.overrides for v in vary("c=[1, 2],[[3, 4]],{d: 5, e: 6}")] == [
        ("c=[1, 2]",),
        ("c=[[3, 4]]",),
        ("c={d: 5, e: 6}",),
    ]
    for text in ("a", "a=", "=1", "a=1,,2", "a..b=1"):
        with pytest.raises(DataError, match=r"expected key=value,value,\.\.\., got"):
            vary(text)


def test_plans_that_cannot_be(config, tmp_path):
    def planned(overrides, variants, seeds=()):
        return plan(config, overrides, variants, tmp_path, list(seeds))

    with pytest.raises(DataError, match=r"compares the quality on data\.val, got none"):
        planned(["data.val=null"], TABLES["beta"])
    with pytest.raises(DataError, match=r"seed=1: expected no seed in a row; give them by --seeds"):
        planned([], vary("seed=1,2"))
    with pytest.raises(DataError, match=r"two runs for .*/beta_1.0_seed3"):
        planned([], TABLES["beta"], [3, 3])
    with pytest.raises(DataError, match="unknown key; did you mean 'epochs'"):
        planned([], vary("schedule.epoch=1,2"))
    with pytest.raises(
        DataError, match="points_per_segment: expected 1 as points names the clicks"
    ):
        planned(["data.train.points=points.json"], TABLES["supervision"])


class Trainer:
    """Starts trials here, and fails where it is told to; keeps the steps of every trial."""

    def __init__(self, fails=()):
        self.fails, self.steps = dict(fails), {}

    def __call__(self, trial):
        seen = self.steps.setdefault(trial.folder.name, [])
        fails = self.fails.get(trial.folder.name)

        class Watched(runs.Semantic):
            def forward(self, batch, step):
                seen.append(step)
                if step == fails:
                    raise DataError("no more")
                return super().forward(batch, step)

        try:
            train(trial.config, trial.folder, resume=True, device="cpu", make_module=Watched)
        except DataError as error:
            return str(error)
        return None


def test_a_run_that_fails_is_taken_up_again_alone(config, tmp_path):
    trials = plan(config, [], vary("schedule.weight_decay=0.1,0.01"), tmp_path, [0])
    first, second = (trial.folder.name for trial in trials)
    broken, told = Trainer({first: 2}), []
    outcomes = sweep(trials, tmp_path, broken, told.append)
    assert broken.steps == {first: [0, 1, 2], second: [0, 1, 2]}
    assert [o.error for o in outcomes] == ["no more", None]
    assert [o.result is None for o in outcomes] == [True, False]
    assert "[1/2] weight_decay=0.1, seed 0: failed: no more" in told
    told = json.loads((tmp_path / "sweep.json").read_text())["rows"]
    assert [row["pq"]["all"]["mean"] is None for row in told] == [True, False]
    assert told[0]["runs"] == [
        {"seed": 0, "folder": first, "quality": None, "seconds": None, "error": "no more"}
    ]

    whole = Trainer()
    outcomes = sweep(trials, tmp_path, whole, lambda text: None)
    assert whole.steps == {first: [2]}, "two steps had checkpoints, and the other run its result"
    assert [o.error for o in outcomes] == [None, None]
    written = json.loads((tmp_path / "sweep.json").read_text())["rows"]
    for row, outcome in zip(written, outcomes, strict=True):
        assert row["runs"][0]["quality"] == outcome.result["quality"]
        assert row["pq"]["all"]["mean"] == outcome.result["quality"]["all"]["pq"]

    idle = Trainer()
    assert sweep(trials, tmp_path, idle, lambda text: None) == outcomes
    assert idle.steps == {}


def test_a_result_of_other_values_does_not_count(config, tmp_path):
    """More epochs go on, another merge is scored anew, other losses and fewer epochs are errors."""

    def again(*overrides):
        trainer = Trainer()
        trials = plan(config, list(overrides), vary("schedule.weight_decay=0.5"), tmp_path, [])
        (outcome,) = sweep(trials, tmp_path, trainer, lambda text: None)
        return outcome, trainer.steps.get("weight_decay_0.5_seed0")

    assert again()[1] == [0, 1, 2]
    outcome, steps = again("schedule.epochs=2")
    assert (steps, outcome.result["epochs"]) == ([3, 4, 5], 2)
    outcome, steps = again("schedule.epochs=2", "merge.quality_things=0.5")
    assert (steps, outcome.error) == ([], None)
    outcome, steps = again("schedule.epochs=2", "loss.semantic_point=3")
    assert outcome.result is None
    assert outcome.error.startswith("loss.semantic_point: the run to be taken up again has 1.0")
    outcome, steps = again()
    assert "schedule.epochs=1 is 3 steps, the run to be taken up again has more" in outcome.error
    assert len(checkpoints(tmp_path / "weight_decay_0.5_seed0" / "checkpoints")) == 3


def test_a_run_has_no_result_before_it_is_finished_again(config, tmp_path):
    made = load_config(config)
    train(made, tmp_path, device="cpu", make_module=runs.Semantic)
    longer = replace(made, schedule=replace(made.schedule, epochs=2))
    (trial,) = plan(config, ["schedule.epochs=2"], vary("schedule.clip_norm=0.1"), tmp_path, [])
    trainer = Trainer({tmp_path.name: 4})
    assert trainer(replace(trial, folder=tmp_path)) == "no more"
    assert load_config(tmp_path / "config.yaml") == longer
    assert not (tmp_path / "result.json").exists()


def outcome(config, name, seed, things):
    trial = Trial(Variant(name, ()), seed, config.parent / f"{name}{seed}", (), load_config(config))
    if things is None:
        return TrialOutcome(trial, None, "broken")
    quality = {"all": {"pq": 0.5}, "things": {"pq": things}, "stuff": {"pq": None}}
    return TrialOutcome(trial, {"quality": quality, "seconds": 1.0}, None)


def test_figures_over_seeds(config):
    table = [("M", 0, 0.6), ("P1", 0, 0.5), ("X", 0, None)]
    table += [("M", 1, 0.8), ("P1", 1, None), ("X", 1, None)]
    full, points, failed = rows([outcome(config, *entry) for entry in table])
    assert [row.variant.name for row in (full, points, failed)] == ["M", "P1", "X"]
    assert full.figures["things"] == pytest.approx((0.7, 0.02**0.5, 1.0))
    assert full.figures["all"] == (0.5, 0.0, 1.0)
    assert full.figures["stuff"] == (None, None, None)
    mean, spread, ratio = points.figures["things"]
    assert (mean, spread, ratio) == (0.5, None, pytest.approx(0.5 / 0.7))
    assert failed.figures["things"] == (None, None, None)
    assert [o.trial.seed for o in failed.outcomes] == [0, 1]


def test_ratios_need_a_first_row(config):
    failed, zero = (outcome(config, "M", 0, value) for value in (None, 0.0))
    other = outcome(config, "P1", 0, 0.5)
    for first in (failed, zero):
        assert rows([first, other])[1].figures["things"] == (0.5, None, None)


def test_a_result_that_is_none_is_named(config, tmp_path):
    (trial,) = plan(config, [], vary("schedule.clip_norm=0.1"), tmp_path, [])
    trial.folder.mkdir()
    save_config(trial.folder / "config.yaml", trial.config)
    (trial.folder / "result.json").write_text("{}")
    with pytest.raises(DataError, match=r"result\.json: expected the result of a run, got"):
        finished(trial)
