"""A Ray cluster of three machines, one of which dies, makes what one process makes."""

import subprocess
import sys
import textwrap

import pytest

from point2mask.cli import main
from point2mask.data import read_panoptic, sample_points, write_points
from point2mask.data.shapes import write_shapes

pytest.importorskip("ray", reason="the extra ray is not installed")

# In a process of its own: Ray's sockets and threads outlive their use, to the dismay of pytest.
CLUSTER = """
import sys
import ray
from ray.cluster_utils import Cluster
from point2mask.cli import main

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
cluster.wait_for_nodes()
ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")

from point2mask.data import making

spread, seen = making.spread_on_ray, []

def counted(*arguments):
    for outcomes in spread(*arguments):
        seen.extend(outcomes)
        if len(seen) == 4:
            cluster.remove_node(nodes[0], allow_graceful=False)
        yield outcomes

making.spread_on_ray = counted
code = main(sys.argv[1:])
print("made", sum(not outcome.kept for outcome in seen))
ray.shutdown()
cluster.shutdown()
sys.exit(code)
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    write_shapes(root, "val", 16, (64, 96))
    dataset = read_panoptic(root / "annotations" / "panoptic_val.json")
    write_points(root / "points.json", sample_points(dataset, 1, seed=1))
    return ["--images", str(root / "images" / "val"), "--points", str(root / "points.json")]


def made(folder):
    """All results. What a machine had begun to write when it died may lie there, and may come late:
    its processes outlive it by a second."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*.*")
        if path.name != "summary.json" and path.suffix != ".tmp"
    }


def test_a_machine_that_dies_changes_nothing(arguments, tmp_path):
    plain, out = tmp_path / "plain", tmp_path / "out"
    assert main(["label", *arguments, "--out", str(plain), "--workers", "1"]) == 0
    command = ["label", *arguments, "--out", str(out), "--ray", "auto"]
    script = textwrap.dedent(CLUSTER)
    done = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert sorted(made(out)) == sorted(made(plain))
    assert made(out) == made(plain)
    # Every picture has one result; those are "kept" that the dead machine had finished unheard, of
    # the six that were under way.
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("made ")]
    assert 10 <= int(line.removeprefix("made ")) <= 16
    # Who goes on finds all there.
    assert main(["label", *arguments, "--out", str(out), "--resume", "--workers", "1"]) == 0
    assert made(out) == made(plain)


def test_errors_are_those_of_the_work(arguments, tmp_path):
    out = tmp_path / "out"
    script = "import sys; from point2mask.cli import main; sys.exit(main(sys.argv[1:]))"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    command = ["label", "--images", str(pictures), *arguments[2:], "--out", str(out), "--ray"]
    done = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2
    assert done.stderr.startswith("point2mask: error: ")
    assert done.stderr.count("\n") == 1
    assert "leave such images out with --skip-broken" in done.stderr
