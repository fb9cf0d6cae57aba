"""The peers: which are installed, and where ours stops and theirs begins."""

import importlib
from functools import cache
from importlib import metadata, util
from types import ModuleType

# The name in the tables: the module, and the distribution on the package index.
PEERS = {
    "PyTorch": ("torch", "torch"),
    "POT": ("ot", "POT"),
    "GeomLoss": ("geomloss", "geomloss"),
    "OTT-JAX": ("ott", "ott-jax"),
    "SciPy": ("scipy", "scipy"),
    "higra": ("higra", "higra"),
    "dijkstra3d": ("dijkstra3d", "dijkstra3d"),
    "FastGeodis": ("FastGeodis", "FastGeodis"),
    "scikit-image": ("skimage", "scikit-image"),
}


@cache
def installed(peer: str) -> bool:
    return util.find_spec(PEERS[peer][0]) is not None


def load(peer: str, submodule: str = "") -> ModuleType:
    """The module of an installed peer, or one inside it."""
    return importlib.import_module(".".join(filter(None, (PEERS[peer][0], submodule))))


def versions() -> dict[str, str | None]:
    """Of every peer; None where it is not installed."""
    return {
        peer: metadata.version(distribution) if installed(peer) else None
        for peer, (_, distribution) in PEERS.items()
    }


def single_threaded_environment() -> dict[str, str]:
    """What has to be set before NumPy, torch and JAX are imported."""
    return {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "NPROC": "1",
        "JAX_PLATFORMS": "cpu",
        "KINETO_LOG_LEVEL": "99",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }
