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


def test_faults_of_our_own_are_none(monkeypatch):
    def ask():
        raise ArithmeticError("a fault")

    monkeypatch.setattr("point2mask.cli.info.environment", ask)
    with pytest.raises(ArithmeticError, match="a fault"):
        main(["info"])
