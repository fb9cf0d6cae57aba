"""Commands that fail: with exit code 2 and one line that says why."""

from point2mask.cli import main


def error_line(capsys) -> str:
    """The one line on the error stream."""
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("point2mask: error: ")
    assert said.err.count("\n") == 1
    return said.err


def fails(capsys, *arguments: object) -> str:
    """What a failing command says."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    return error_line(capsys)
