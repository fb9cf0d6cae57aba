"""Tables of ``docs/data_formats.md``, whose cells are tests."""

from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "data_formats.md"


def table(first):
    """The rows of the table whose first head is ``first``: kind, reader and what is to come."""
    lines = PAGE.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    readers = [head.strip("`") for head in rows[0][1:]]
    return [(row[0], r, cell) for row in rows[2:] for r, cell in zip(readers, row[1:], strict=True)]
