"""``point2mask annotate`` as a process of its own, for tests that speak to it as a user does."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a server on a free port, and its process; stopped by Ctrl-C at the end."""
    command = [sys.executable, "-m", "point2mask", "annotate", str(folder), "--port", "0"]
    server = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    try:
        said = ""
        for line in server.stderr:
            said += line
            if found := re.match(r"open (\S+) ", line):
                break
        else:
            raise AssertionError(f"the server did not start: {said}")
        yield found[1], server
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=60)
        finally:
            server.kill()
            server.stderr.close()
