"""The table of goals in docs/benchmarks.md: written from the results file, never by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from point2mask.data.files import write_bytes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- goals: written by bench/run.py -->", "<!-- end of goals -->"
HEAD = (
    "goal",
    "aimed at",
    "measured",
    "met",
    "floor in the same run",
    "when, on",
    "why it is missed",
)
WORDS = {True: "yes", False: "no", None: ""}

# Why a goal is missed, by its name; longer ones stand below the table.
REASONS = {
    "sinkhorn over PyTorch, 1 x 16384 and 65536 x 20": "the pass over the matrix is half of an "
    "iteration's time; PyTorch's exponentials are cheap at epsilon 1e-1",
    "sinkhorn over OTT-JAX, 1 x 16384 and 65536 x 20": "16384 x 20 lies in the second-level cache "
    "for both",
    "sinkhorn's share of read bandwidth, 8 x 65536": "the matrix is built again at epsilon 1e-3",
    "sinkhorn, epsilon 1e-3 over 1e-1, those sizes": "the matrix is built again 8 times",
    "Newton's passes to a marginal error of 1e-6": "the path down to costs of 10 000 epsilon",
    "spanning_tree over SciPy, 4 neighbours": "ours also gives a root, an order and subtree sizes",
    "spanning_tree over higra, 4 neighbours": "as above; cold caches between the peers' calls",
    "tree_filter over a read of 8 bytes, 512^2 x 150": "rows of 16 channels are 16.8 MB and pass "
    "four times between memory and processor",
    "tree_filter over the scalar loop, C = 1": "at 512^2 alone; the loop's compiler contracts "
    "multiplications and additions, which the bits of ours forbid",
    "tree_filter over the scalar loop, C >= 20": "the same at 512^2, where a plane of the loop is "
    "1 MB",
    "tree_filter's gradients over forward": "counted in passes over planes and rows: 17 of 8, 2.1",
    "geodesic_distance over SciPy, white noise": "at 512^2 a block is visited up to 256 times "
    "before a heap takes over; sooner was slower",
    "two threads over one, transport_plan, B = 2": "both threads write to one memory: a copy of "
    "the costs gains 1.34 to 1.61 in later runs",
    "two threads over one, boundary_loss, B = 2": "the host's second core is not always free: 1.93 "
    "and 1.96 in later runs",
    "two threads over one, mask_statistics, B = 2": "the start of the second thread",
    "microseconds of the slowest small call": "three results and PyTorch's kernel for gradients",
}


def shown(goal: Mapping[str, Any]) -> str:
    """A row of the table."""
    name, value, met = goal["name"], goal["value"], goal["met"]
    measured = goal.get("measured", {})
    cells = (
        name,
        goal["target"],
        "not measured" if value is None else f"{value:.3g}",
        WORDS[met],
        goal.get("floor", ""),
        " ".join(filter(None, (measured.get("date"), measured.get("processor")))),
        REASONS.get(name, "") if met is False else "",
    )
    return f"| {' | '.join(cells)} |"


def markdown(goals: list[Mapping[str, Any]]) -> str:
    return "\n".join([f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD), *map(shown, goals)])


def with_table(page: str, goals: list[Mapping[str, Any]]) -> str:
    """The page with the table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE}: expected the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{markdown(goals)}\n\n{END}{after}"


def write(goals: list[Mapping[str, Any]]) -> None:
    write_bytes(PAGE, with_table(PAGE.read_text(), goals).encode())
