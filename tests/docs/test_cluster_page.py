"""The Slurm script and the KubeRay job of ``docs/cluster.md``."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest
import yaml

from point2mask.cli import build_parser, main
from point2mask.data import read_panoptic

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"


def block(start):
    """The indented block whose first line is ``start``."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    first = lines.index(f"    {start}")
    end = next((n for n in range(first, len(lines)) if lines[n][:1] not in ("", " ")), len(lines))
    return dedent("\n".join(lines[first:end]))


def closed(required, **optional):
    """An object of these keys and no others."""
    properties = {**required, **optional}
    return {
        "type": "object",
        "properties": properties,
        "required": [*required],
        "additionalProperties": False,
    }


TEXT, COUNT, FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITIES = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer"], "pattern": r"^\d+(m|[KMGT]i?)?$"},
}
CONTAINER = closed(
    {"name": TEXT, "image": TEXT},
    envFrom={"type": "array", "items": closed({"secretRef": closed({"name": TEXT})})},
    resources=closed({}, requests=QUANTITIES, limits=QUANTITIES),
)
POD = closed({"spec": closed({"containers": {"type": "array", "items": CONTAINER, "minItems": 1}})})
HEAD = closed({"rayStartParams": TEXTS, "template": POD})
WORKERS = closed(
    {"groupName": TEXT, "rayStartParams": TEXTS, "template": POD},
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
)
# Of ray.io_rayjobs.yaml, KubeRay's published schema, and of Kubernetes' pods: the keys that the
# page uses and those that are required, with their types.
RAY_JOB = closed(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": closed(
            {"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}}
        ),
        "spec": closed(
            {
                "entrypoint": TEXT,
                "rayClusterSpec": closed(
                    {
                        "headGroupSpec": HEAD,
                        "workerGroupSpecs": {"type": "array", "items": WORKERS},
                    }
                ),
            },
            shutdownAfterJobFinishes=FLAG,
            backoffLimit=COUNT,
        ),
    }
)


def test_the_kuberay_job_is_one():
    job = yaml.safe_load(block("apiVersion: ray.io/v1"))
    jsonschema.validate(job, RAY_JOB)
    words = shlex.split(job["spec"]["entrypoint"].replace("s3://", "memory://"))
    args = build_parser().parse_args(words[1:])
    # The driver's cluster, and a driver that is started again goes on.
    assert (words[0], args.ray, args.resume) == ("point2mask", "auto", True)
    (workers,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


@pytest.mark.slow
def test_the_slurm_script_labels_its_part(tmp_path):
    script = block("#!/bin/bash")
    (parts,) = re.findall(r"^#SBATCH --array=1-(\d+)$", script, re.MULTILINE)
    assert f"--shard $SLURM_ARRAY_TASK_ID/{parts} " in script
    script = script.replace(f"ID/{parts} ", "ID/2 ").replace("/data/", f"{tmp_path}/")
    (tmp_path / "job.sh").write_text(script)
    for name, command in (("srun", ""), ("point2mask", f"{sys.executable} -m point2mask")):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (tmp_path / name).chmod(0o755)
    shapes = tmp_path / "shapes"
    assert not main(
        ["shapes", str(shapes), "--train", "3", "--val", "1", "--height", "32", "--width", "48"]
    )
    truth = shapes / "annotations" / "panoptic_train.json"
    points = ["points", "sample", "--annotations", truth, "--out", tmp_path / "points.jsonl"]
    assert not main([*map(str, points)])
    (tmp_path / "train2017").symlink_to(shapes / "images" / "train")
    for part in "21":
        environment = os.environ | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_ARRAY_TASK_ID": part,
            "SLURM_CPUS_PER_TASK": "1",
        }
        subprocess.run(["bash", tmp_path / "job.sh"], env=environment, check=True)
    assert not main(["gather", str(tmp_path / "labels")])
    assert len(read_panoptic(tmp_path / "labels" / "panoptic.json").images) == 3
