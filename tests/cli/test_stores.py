"""What stores of files complain of is a sentence, as what disks complain of is."""

import pytest
from commands import fails

from point2mask.cli import main


class NoCredentialsError(Exception):
    __module__ = "botocore.exceptions"


def test_errors_of_a_store_are_one_line(capsys, monkeypatch):
    def ask():
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr("point2mask.cli.info.environment", ask)
    said = fails(capsys, "info")
    assert said == "point2mask: error: botocore: Unable to locate credentials\n"


def test_a_hub_that_is_not_reached_is_one_line(capsys, monkeypatch):
    """Its client's errors are of httpx, and of httpx2 in newer versions."""

    def ask():
        raise type("ConnectError", (Exception,), {"__module__": "httpx2"})("Name not known")

    monkeypatch.setattr("point2mask.cli.info.environment", ask)
    assert fails(capsys, "info") == "point2mask: error: httpx2: Name not known\n"


def test_faults_of_our_own_are_none(monkeypatch):
    def ask():
        raise ArithmeticError("a fault")

    monkeypatch.setattr("point2mask.cli.info.environment", ask)
    with pytest.raises(ArithmeticError, match="a fault"):
        main(["info"])


def test_what_a_store_has_not_is_one_line_whatever_kind_of_error_it_raises(capsys, monkeypatch):
    code = compile("def ask():\n    raise NotImplementedError('no lists here')", "store", "exec")
    store = {"__name__": "huggingface_hub.files"}
    exec(code, store)
    monkeypatch.setattr("point2mask.cli.info.environment", store["ask"])
    assert fails(capsys, "info") == "point2mask: error: huggingface_hub: no lists here\n"


@pytest.mark.parametrize("url", ["file://[x", "http://[x"])
def test_urls_that_are_none_are_named(url, capsys):
    said = fails(capsys, "predict", "--checkpoint", "run", "--images", url, "--out", "out")
    assert said.startswith(f"point2mask: error: {url}: expected a path, or a URL of a known kind")


def test_a_store_that_cannot_be_reached_is_named(capsys, monkeypatch):
    upath = pytest.importorskip("upath")

    def connect(text):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(upath, "UPath", connect)
    said = fails(capsys, "predict", "--checkpoint", "run", "--images", "ftp://x", "--out", "out")
    assert said.startswith("point2mask: error: ftp://x: cannot be reached ([Errno -2] Name or")
