"""Hostile files: every reader takes them or says in one line what is wrong, and costs little.

``--mutants N`` tries N of every reader, ``--first SEED`` others than those of every day.
"""

import os
import random
import re
import shutil
from functools import cache

import pytest
from fuzz.good import write_good
from fuzz.limits import bounded
from fuzz.mutants import BYTES, FORMATS, TEXT, mutant
from fuzz.readers import READERS

from point2mask import cli
from point2mask.data import DataError

UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# It writes remarks on broken files to the descriptor itself, and Pillow does not ask it not to.
LIBTIFF = re.compile(r"^(?!point2mask: error: )_?[A-Za-z0-9.]+: .*\n(?=.*\n)", re.MULTILINE)
MOST_FAULTS = 20  # that a reader is looked for
TOGETHER = 25  # files after which it is looked whether anything was written elsewhere


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_good(tmp_path_factory.mktemp("good"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """What no file changes is made once, and nobody waits for the disk."""
    monkeypatch.setattr(cli, "build_parser", cache(cli.build_parser))
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)


def outcome(reader, folder, capfd):
    """What a reader says of a folder; "" if it takes it."""
    said = ""
    capfd.readouterr()
    with bounded():
        try:
            code = reader.read(folder)
        except DataError as error:
            said = f"{error}\n"
        else:
            if isinstance(code, int) and code != 0:
                assert code == 2
                said = LIBTIFF.sub("", capfd.readouterr().err)
    if said:
        lines = said.splitlines()
        assert len(lines) == 1, said
        assert not UNPRINTABLE.search(said), said
        assert len(said) < 5000, said[:5000]  # a path has 4096 bytes at most
    return said


def files(folder, deep=True):
    """When every file was last written, but for those in ``out``."""
    found = {}
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            if deep and entry.name != "out":
                found |= files(entry.path)
        else:
            status = entry.stat(follow_symlinks=False)
            found[entry.path] = status.st_mtime_ns, status.st_size
    return found


@pytest.mark.parametrize("name", READERS)
def test_hostile_files(name, good, tmp_path, capfd, request):
    reader, count, first = READERS[name], *map(request.config.getoption, ("mutants", "first"))
    if not [*good.glob(reader.file)]:
        pytest.skip("needs point2mask[parquet]")
    folder = tmp_path / "in"
    shutil.copytree(good, folder)
    (target,) = folder.glob(reader.file)
    content = target.read_bytes()
    assert outcome(reader, folder, capfd) == ""
    known, outside = files(folder), files(tmp_path, deep=False)
    refused, faults = 0, []
    for number in range(first, first + count):
        if (folder / "out").exists():
            shutil.rmtree(folder / "out")
        target.write_bytes(mutant(content, f"{name} {number}", reader.kind))
        try:
            refused += bool(outcome(reader, folder, capfd))
            if number % TOGETHER == 0 and not reader.within:
                found = files(folder)
                found[str(target)] = known[str(target)]
                assert found == known, f"of the last {TOGETHER}"
        except Exception as error:
            error.add_note(f"mutant {number} of {name}: --first {number} --mutants 1")
            faults.append(error)
            known = files(folder)
        if len(faults) == MOST_FAULTS:
            break
    if faults:
        raise ExceptionGroup(f"{len(faults)} faults of {name}", faults)
    assert files(tmp_path, deep=False) == outside
    assert {entry.name for entry in os.scandir(tmp_path)} == {"in"}
    assert count < 50 or refused > count / 10  # they are hostile


def test_mutants_are_the_same_everywhere():
    assert mutant(b'{"a": [1, 2], "b": "c"}', "seed 3", "json") == mutant(
        b'{"a": [1, 2], "b": "c"}', "seed 3", "json"
    )


@pytest.mark.parametrize("name", READERS)
def test_what_knows_a_format_changes_every_good_file_of_it(name, good):
    """A change that fails would be an ordinary flip of bits, unseen."""
    found = [*good.glob(READERS[name].file)]
    if not found:
        pytest.skip("needs point2mask[parquet]")
    content = found[0].read_bytes()
    for change in {*FORMATS[READERS[name].kind]} - {*BYTES, *TEXT}:
        made = {change(content, random.Random(f"{name} {seed}")) for seed in range(30)}
        assert len(made - {content}) > 10, change
