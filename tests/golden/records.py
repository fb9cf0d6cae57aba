"""The recorded digests. To renew them on purpose, after a look at what has changed:

python tests/golden/records.py
"""

import json
import sys
import tempfile
from pathlib import Path

PATH = Path(__file__).with_name("digests.json")


def read() -> dict[str, dict[str, dict[str, str]]]:
    """``operators`` for every x86-64; ``package`` by the environment they were worked out in."""
    found: dict[str, dict[str, dict[str, str]]] = json.loads(PATH.read_text())
    return found


def renew() -> None:
    """Records what this environment gives and says what is new."""
    from golden import operators, package

    before = read() if PATH.exists() else {"operators": {}, "package": {}}
    place = package.environment()
    with tempfile.TemporaryDirectory() as folder:
        made = {"operators": operators.digests(), "package": package.digests(Path(folder))}
    old = {"operators": before["operators"], "package": before["package"].get(place, {})}
    for part in made:
        for name in sorted(made[part].keys() | old[part].keys()):
            if made[part].get(name) != old[part].get(name):
                print(f"{part}: {name}", file=sys.stderr)
    after = {
        "operators": made["operators"],
        "package": {**before["package"], place: made["package"]},
    }
    PATH.write_text(json.dumps(after, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(PATH.parents[1]))
    renew()
