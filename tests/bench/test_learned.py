"""The trainings that compare ways to grow masks, on little: run, stopped, taken up, and told."""

import json
import sys
from io import StringIO

import learned
import pytest
import runs
from rich.console import Console

from point2mask.train.config import save_config


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Calls the script on a recipe of three steps; returns its exit code and its results."""
    runs.write_data(tmp_path / "data")
    config = runs.config(tmp_path / "data")
    val = runs.source("val")
    config = runs.replace(config, data=runs.replace(config.data, val=val))
    save_config(tmp_path / "tiny.yaml", config)

    def call(*arguments):
        given = ["shapes", "schedule.epochs=1", "schedule.milestones=[]"]
        folders = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "learned.json")]
        recipe = ["--recipe", str(tmp_path / "tiny.yaml")]
        monkeypatch.setattr(sys, "argv", ["learned.py", *given, *recipe, *folders, *arguments])
        code = learned.main()
        return code, json.loads((tmp_path / "learned.json").read_text())["runs"]

    return call


def test_runs_go_on_and_their_results_are_kept(command, tmp_path, capsys):
    ways = ("--ways", "transport", "learned", "--seeds", "3", "--jobs", "2")
    assert command(*ways, "--minutes", "0") == (0, [])
    assert "the budget is spent: 2 runs are not done" in capsys.readouterr().out
    code, found = command(*ways)
    assert code == 0
    assert [run["assigner"] for run in found] == ["transport", "learned"]
    for run in found:
        assert run.keys() == {*learned.SAME, *learned.GROUPS}
        told = {key: run[key] for key in ("data", "learnt_from", "round", "seed", "steps")}
        assert told == {
            **{"data": "shapes", "learnt_from": "1 click"},
            **{"round": 1, "seed": 3, "steps": 3},
        }
        assert all(0 <= run[key] <= 1 for key in learned.GROUPS)
        assert run["command"].startswith(f"point2mask train {tmp_path}/tiny.yaml ")
        assert "schedule.epochs=1 " in run["command"]
        assert "seed=3" in run["command"]
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("result.json")}
    assert len(stamps) == 2
    assert command(*ways) == (0, found)  # nothing is run or told twice
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_a_run_that_fails_is_told(command, tmp_path, capsys):
    (tmp_path / "data/images/train/000001.png").unlink()
    code, found = command("--ways", "transport", "--seeds", "0")
    assert (code, found) == (1, [])
    assert "failed: see" in capsys.readouterr().out.replace("\n", " ")
    (log,) = (tmp_path / "out").rglob("*.log")
    assert "000001.png" in log.read_text()


def run_of(assigner, seed, things, learnt_from="1 click", number=1):
    figures = {"pq": 0.5, "things": things, "stuff": 0.5}
    return {
        **{"data": "x", "learnt_from": learnt_from, "assigner": assigner, "round": number},
        **{"seed": seed, "steps": 1, **figures, "command": "c"},
    }


def test_differences_are_taken_seed_by_seed():
    base = [run_of("transport", seed, things) for seed, things in ((0, 0.2), (1, 0.4), (2, 0.6))]
    own = [run_of("learned", seed, things) for seed, things in ((2, 0.7), (0, 0.3), (5, 0.9))]
    assert learned.differences(own, base, "things") == pytest.approx([0.1, 0.1])
    assert learned.spread([0.2, 0.4]) == "30.0 ± 14.1"
    assert learned.spread([0.2]) == "20.0"
    console = Console(width=120, record=True, file=StringIO())
    console.print(learned.table([*base, *own]))
    text = console.export_text()
    rows = [line for line in text.splitlines() if "1 click" in line]
    assert "40.0 ± 20.0" in rows[0]
    assert "10.0 ± 0.0" in rows[1]


def test_a_run_replaces_only_itself(tmp_path):
    path = tmp_path / "learned.json"
    learned.keep(path, [run_of("transport", 0, 0.2), run_of("transport", 1, 0.3)])
    learned.keep(path, [run_of("transport", 1, 0.4), run_of("transport", 1, 0.5, number=2)])
    kept = json.loads(path.read_text())["runs"]
    assert [(run["seed"], run["round"], run["things"]) for run in kept] == [
        (0, 1, 0.2),
        (1, 1, 0.4),
        (1, 2, 0.5),
    ]


def test_every_way_is_a_configuration(tmp_path):
    """From one click and ten; only true masks have no clicks."""
    names = [variant.name for variant in learned.variants(list(learned.WAYS), [1, 10])]
    assert names[0] == "masks, masks"
    assert len(names) == 2 * len(learned.WAYS) - 1 == len(set(names))
    for recipe, *preset in learned.DATA.values():
        variants = learned.variants(list(learned.WAYS), [1, 10])
        trials = learned.plan(recipe, preset, variants, tmp_path, [0, 1])
        assert len(trials) == 2 * len(names)
        kinds = {trial.config.supervision.kind for trial in trials}
        assert kinds == {"points", "masks"}
