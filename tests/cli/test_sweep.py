"""The command ``point2mask sweep``: runs in processes of their own, a table, and what failed."""

import json
import resource
import sys
from dataclasses import replace

import pytest
import runs

from point2mask.cli import main
from point2mask.cli.sweep import train_in_process
from point2mask.train.config import save_config
from point2mask.train.sweep import TABLES


@pytest.mark.slow
def test_a_sweep_survives_a_run_that_fails(tmp_path, capsys):
    """Two real runs, of which one has no images; then the same command tries that one again."""
    runs.write_data(tmp_path, train=2, val=1)
    config = runs.config(tmp_path)
    config = replace(
        config,
        data=replace(config.data, val=runs.source("val")),
        report=replace(config.report, pictures=0),
    )
    save_config(tmp_path / "run.yaml", config)
    out = tmp_path / "out"
    arguments = [
        "sweep",
        tmp_path / "run.yaml",
        "schedule.epochs=1",
        "--device",
        "cpu",
        "--out",
        out,
    ]
    arguments += ["--vary", "data.train.images=images/train,images/none", "--seeds", "3"]
    arguments = [str(argument) for argument in arguments]
    assert main(arguments) == 2
    good, bad = out / "images_images_train_seed3", out / "images_images_none_seed3"
    assert json.loads((good / "result.json").read_text())["steps"] == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == "seeds PQ ratio PQ things ratio PQ stuff ratio".split()
    assert lines[1].split()[:2] == ["images=images/train", "1"]
    assert lines[2].split() == ["images=images/none", "0", "of", "1", *"------"]
    error = captured.err.splitlines()[-1]
    assert error.startswith(f"point2mask: error: 1 of 2 runs failed, see train.log in {out}: ")
    assert "images_images_none_seed3;" in error
    assert f"$ point2mask train {tmp_path}/run.yaml schedule.epochs=1 data.train" in captured.err
    assert "step 1/1  epoch 1  loss " in (good / "train.log").read_text()
    reason = json.loads((out / "sweep.json").read_text())["rows"][1]["runs"][0]["error"]
    assert "images/none/00000" in reason
    assert f"point2mask: error: {reason}\n" in (bad / "train.log").read_text()


@pytest.fixture
def speaks(tmp_path, monkeypatch):
    """Has an executable in the place of Python that says its arguments and what it is told."""

    def make(last):
        path = tmp_path / "speaks"
        path.write_text(f'#!/bin/sh\necho "$@"\n{last}\n')
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return make


def test_processes_and_log(speaks, tmp_path, capsys):
    speaks("exit 0")
    assert train_in_process(["train", "c.yaml"], tmp_path / "a", 1) is None
    assert train_in_process(["train", "c.yaml"], tmp_path / "a", 4) is None
    expected = (
        "-m point2mask train c.yaml\n"
        "-m torch.distributed.run --standalone --nproc_per_node=4 -m point2mask train c.yaml "
        "--processes 4\n"
    )
    assert (tmp_path / "a" / "train.log").read_text() == expected
    assert "  $ point2mask train c.yaml\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ("echo point2mask: error: no data; echo =====; exit 1", "no data"),
        ("echo ValueError: x; echo; exit 3", "ended with 3 (ValueError: x)"),
        ("kill -9 $$", "ended with -9 (-m point2mask train)"),
    ],
)
def test_reasons(speaks, tmp_path, last, reason):
    speaks(last)
    assert train_in_process(["train"], tmp_path / "a", 1) == reason


def test_a_full_disk_names_the_log(speaks, tmp_path):
    """A limit on the size of files is met as the end of the disk is."""
    speaks("while :; do echo a line; done")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            train_in_process(["train"], tmp_path / "a", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.filename == str(tmp_path / "a" / "train.log")


def test_the_tables_on_offer(capsys):
    with pytest.raises(SystemExit):
        main(["sweep", "x.yaml", "--table", "none", "--out", "x"])
    error = capsys.readouterr().err
    assert all(name in error for name in TABLES)
    assert error.count("'") == 2 * (1 + len(TABLES)) + 2
