"""What importing the package costs and brings, in processes of their own."""

import pkgutil
import subprocess
import sys

import point2mask


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, *arguments, *(("-c", code) if code else ())],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_importing_is_cheap():
    """Neither the package nor what works on NumPy arrays imports torch."""
    loaded = "import sys; print(*sorted({'torch', 'numpy', 'PIL', 'rich'} & set(sys.modules)))"
    assert run_python(f"import point2mask; {loaded}").split() == []
    assert run_python(f"import point2mask.cli; {loaded}").split() == []
    for module in ("data.shapes", "evaluation", "visualize"):
        assert run_python(f"import point2mask.{module}; {loaded}").split() == ["numpy"]


def test_operators_are_there_after_torch():
    operator = "print(torch.ops.point2mask.mask_statistics)"
    assert run_python(f"import torch, point2mask; {operator}") == "point2mask.mask_statistics\n"
    assert (
        run_python(f"import torch, point2mask.data; {operator}") == "point2mask.mask_statistics\n"
    )


def test_the_package_lists_its_parts():
    for name in dir(point2mask):
        assert getattr(point2mask, name) is not None
    # Commands, and what they share with the parts.
    private = {
        "__main__",
        "app",
        "bilinear",
        "checkpoint",
        "cli",
        "cluster",
        "grid",
        "messages",
        "progress",
        "ranges",
        "workers",
    }
    parts = {module.name for module in pkgutil.iter_modules(point2mask.__path__)} - private
    assert dir(point2mask) == ["__version__", *sorted(n for n in parts if not n.startswith("_"))]


def test_runs_as_a_module_and_does_not_mind_a_closed_pipe():
    assert run_python(None, "-m", "point2mask", "--version").split() == [
        "point2mask",
        point2mask.__version__,
    ]
    code = "import sys; from point2mask.cli import main; sys.exit(main(['info']))"
    command = f'"{sys.executable}" -W error -c "{code}" | true; test ${{PIPESTATUS[0]}} = 0'
    subprocess.run(["bash", "-c", command], check=True, timeout=60, capture_output=True)
