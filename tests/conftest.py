"""Options, backends and data folders shared by all tests."""

import os
import re
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from backends import BACKENDS, Backend
from hypothesis import HealthCheck, is_hypothesis_test, settings
from simt import build

# CI machines are slow and shared: a deadline would only test the scheduler. The data of a failing
# example is printed, and examples are derived from the test's name, so that a run is repeatable.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("default")
LONGER = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", action="append", choices=BACKENDS, help="run only these backends")
    parser.addoption(
        "--long",
        action="store_true",
        help=f"{LONGER} times as many examples and schedules, of the tests alone that have any, "
        "and the tests marked long",
    )
    parser.addoption("--mutants", type=int, default=100, help="hostile files for every reader")
    parser.addoption("--first", type=int, default=0, help="number of the first of them")


def cuda_is_left_out(config: pytest.Config) -> bool:
    """Without a device, unless `-m` speaks of it."""
    return not torch.cuda.is_available() and "cuda" not in config.option.markexpr


def chosen_backends(config: pytest.Config) -> list[str]:
    """Those asked for; else all that can run here."""
    default = [name for name in BACKENDS if not (name == "cuda" and cuda_is_left_out(config))]
    return config.getoption("backend") or default


def pytest_report_header(config: pytest.Config) -> str:
    left_out = cuda_is_left_out(config)
    note = " (no CUDA device: all that is marked 'cuda' is left out)" if left_out else ""
    return f"backends: {', '.join(chosen_backends(config))}{note}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        names = chosen_backends(metafunc.config)
        for mark in metafunc.definition.iter_markers("backends"):
            names = [name for name in names if name in mark.args]
        cuda = pytest.param("cuda", marks=pytest.mark.cuda)
        values = [cuda if name == "cuda" else name for name in names]
        metafunc.parametrize("backend", values, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without_cuda, long = cuda_is_left_out(config), config.getoption("--long")

    def is_chosen(item: pytest.Item) -> bool:
        if without_cuda and item.get_closest_marker("cuda"):
            return False
        if item.get_closest_marker("long"):
            return long
        repeats = isinstance(item, pytest.Function) and (
            is_hypothesis_test(item.obj) or "schedules" in item.fixturenames
        )
        return repeats or not long

    left_out = [item for item in items if not is_chosen(item)]
    items[:] = [item for item in items if is_chosen(item)]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def schedules(request: pytest.FixtureRequest) -> int:
    """How many times as many random schedules as usual a test of the kernels takes."""
    return LONGER if request.config.getoption("--long") else 1


class SkipFilesThatNeedMore:
    """`-m cuda` is for machines that may have torch alone: files that need more are skipped."""

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        error = re.search(r"ModuleNotFoundError: No module named '([^']+)'", str(report.longrepr))
        if report.failed and error and not error[1].startswith("point2mask"):
            report.outcome = "skipped"
            reason = f"Skipped: {error[1]} is not installed"
            report.longrepr = (str(collector.path), 0, reason)
        return report


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--long"):
        longer = settings(max_examples=LONGER * settings().max_examples)
        settings.register_profile("long", longer)
        settings.load_profile("long")
    if "cuda" in config.option.markexpr:
        # Registered, so that it also holds for a folder whose own conftest needs more.
        config.pluginmanager.register(SkipFilesThatNeedMore())


@pytest.fixture(autouse=True, scope="module")
def fresh_compiler() -> Iterator[None]:
    """What other tests compiled does not count towards the limit of a function's variants."""
    yield
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    """One way to run every operator on NumPy arrays; see ``backends.py``."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if request.param == "simt" and build.compiler() is None:
        pytest.skip("no host C++ compiler to build the kernels with")
    return Backend(request.param)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, where there is one."""
    from annotate_page import NoBrowserError, chromium

    try:
        with chromium() as browser:
            yield browser
    except NoBrowserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real data sets, or a skip."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    root = Path(os.environ.get("POINT2MASK_DATA", default))
    if not root.is_dir():
        pytest.skip(f"real data not found at {root}; set POINT2MASK_DATA to run this test")
    return root


@pytest.fixture
def threads():
    """``with threads(n):`` runs torch on n threads and restores the number afterwards."""

    @contextmanager
    def use(count: int) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return use


@pytest.fixture
def check_parts(threads):
    """``check_parts(run, 3)``: the bits of three images are theirs, on one thread and on two.

    ``run`` takes a slice of the images and returns one tensor or several, each image by image.
    """

    def check(run: Callable[[slice], torch.Tensor | Sequence[torch.Tensor]], images: int) -> None:
        with threads(1):
            alone = [run(slice(image, image + 1)) for image in range(images)]
        with threads(2):
            together = run(slice(None))
        if isinstance(together, torch.Tensor):
            alone, together = [[part] for part in alone], [together]
        for parts, whole in zip(zip(*alone, strict=True), together, strict=True):
            assert torch.equal(torch.cat(parts), whole)

    return check
