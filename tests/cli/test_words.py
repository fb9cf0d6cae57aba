"""Words of a command line that no command can take: names, paths, URLs and numbers."""

import pytest
from commands import fails

from point2mask.cli import main


@pytest.mark.parametrize("word", ["a\0b", "a\udcffb", "a\nb", "a\rb", "\x1b[31m", "\u2028"])
@pytest.mark.parametrize("option", ["--out", "--points"])
def test_words_that_no_file_can_be_named_by(word, option, capfd):
    with pytest.raises(SystemExit) as raised:
        main(["points", "export", "csv", "--points", "p.json", "--out", "out", option, word])
    assert raised.value.code == 2
    said = capfd.readouterr().err
    assert "expected words without line breaks, control characters and bytes that are not" in said
    assert len(said.splitlines()) == 1


def test_names_do_not_reach_the_terminal_as_they_are(tmp_path, capfd):
    (tmp_path / "a\n\x1b[31m.json").write_text("{")
    points = tmp_path / "points.json"
    assert main(["points", "import", "labelme", str(tmp_path), "--out", str(points)]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert r"a\n\x1b[31m.json" in error


def test_a_long_word_is_cut(capsys):
    said = fails(capsys, "shapes", "out", "--train", "9" * 100_000)
    assert "argument --train: invalid int value: '999" in said
    assert len(said) < 6000


@pytest.mark.parametrize(
    "words",
    [
        ["train", "shapes_tiny", "--out", "s3://b/run"],
        ["export", "run", "--size", "8x8", "--out", "s3://b/network.pt2"],
        ["points", "sample", "--annotations", "s3://b/a.json", "--out", "points.json"],
        ["convert", "coco", "--instances", "a.json", "--images", "b", "--out", "http://[x"],
    ],
)
def test_urls_where_none_can_be(words, capsys, tmp_path, monkeypatch):
    """They were taken for folders of their names in the folder of the shell."""
    monkeypatch.chdir(tmp_path)
    assert "expected a path on this machine, got the URL" in fails(capsys, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["train", "shapes_tiny"],
        ["label", "--images", "a", "--points", "b"],
        ["points", "sample", "--annotations", "a.json"],
        ["export", "run", "--size", "8x8"],
    ],
)
def test_a_path_that_is_empty(words, capsys, tmp_path, monkeypatch):
    """As of a variable that is not set: it was the folder of the shell."""
    monkeypatch.chdir(tmp_path)
    assert "argument --out: expected a path, got none" in fails(capsys, *words, "--out", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["label", "predict", "evaluate"])
def test_more_processes_than_any_machine_has(command, capsys):
    said = fails(capsys, command, "--workers", "1000000")
    assert "argument --workers: expected at most 1024 processes, got 1000000" in said
