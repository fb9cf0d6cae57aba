"""Hostile files: every reader takes them or says in one line what is wrong, and costs little.

``--mutants N`` tries N of every reader, ``--first SEED`` others than those of every day.
"""

import re
import shutil

import pytest
from fuzz.limits import bounded
from fuzz.mutants import mutant
from fuzz.readers import READERS, write_good

from point2mask.data import DataError

UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_good(tmp_path_factory.mktemp("good"))


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
                said = capfd.readouterr().err
    if said:
        lines = said.splitlines()
        assert len(lines) == 1, said
        assert not UNPRINTABLE.search(said), said
        assert len(said) < 5000, said[:5000]  # a path has 4096 bytes at most
    return said


def files(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "out" not in path.relative_to(folder).parts
    }


@pytest.mark.parametrize("name", READERS)
def test_hostile_files(name, good, tmp_path, capfd, request):
    reader, count, first = READERS[name], *map(request.config.getoption, ("mutants", "first"))
    if not (good / reader.file).exists():
        pytest.skip("needs point2mask[parquet]")
    folder = tmp_path / "in"
    shutil.copytree(good, folder)
    content = (good / reader.file).read_bytes()
    made_within = name in ("gather", "record")  # the folder that is read is the one written to
    assert outcome(reader, folder, capfd) == ""
    refused, outside = 0, {p: t for p, t in files(tmp_path).items() if folder not in p.parents}
    for number in range(first, first + count):
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / reader.file).write_bytes(mutant(content, f"{name} {number}", reader.text))
        before = files(folder)
        try:
            refused += bool(outcome(reader, folder, capfd))
        except BaseException as error:
            error.add_note(f"mutant {number} of {name}: --first {number} --mutants 1")
            raise
        assert made_within or files(folder) == before, number
    assert {p: t for p, t in files(tmp_path).items() if folder not in p.parents} == outside
    assert count < 50 or refused > count / 10  # they are hostile


def test_mutants_are_the_same_everywhere():
    assert mutant(b'{"a": [1, 2], "b": "c"}', "seed 3", True) == mutant(
        b'{"a": [1, 2], "b": "c"}', "seed 3", True
    )
