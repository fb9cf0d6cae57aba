"""Loads ``torch.ops.point2mask`` and holds what every operator family shares."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from point2mask import _core

NAMESPACE = "point2mask"

# By spec, not by path: in an editable install the library lies in the build tree.
_spec = find_spec("point2mask._ops")
if _spec is None or _spec.origin is None:
    raise ImportError(
        "point2mask was installed without its compiled library _ops; reinstall it with "
        "`pip install .` from the source tree"
    )
if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 13):
    raise ImportError(
        f"point2mask needs torch >= 2.13, found {torch.__version__}; "
        "upgrade with `pip install 'torch>=2.13'`"
    )
torch.ops.load_library(_spec.origin)

WITHOUT_CUDA: set[str] = set()  # operators that refuse CUDA tensors


def refuse_cuda_tensors(name: str) -> None:
    """Says in a sentence that an operator has no CUDA kernel; torch's own error does not."""
    operator = f"{NAMESPACE}::{name}"
    if torch._C._dispatch_has_kernel_for_dispatch_key(operator, "CUDA"):
        return
    reason = (
        "no CUDA kernel yet; move the tensors to the CPU"
        if _core.cuda_architectures
        else "point2mask was built without CUDA kernels; reinstall it where nvcc is found "
        "(POINT2MASK_CUDA=ON), or move the tensors to the CPU"
    )

    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise NotImplementedError(f"{name}: {reason}")

    torch.library.register_kernel(operator, "cuda", refuse)
    WITHOUT_CUDA.add(name)


def register_fake(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the shape function of ``torch.ops.point2mask.<name>``.

    Every operator has one, so this is also where those without a CUDA kernel learn to say so.
    """
    refuse_cuda_tensors(name)
    decorator: Callable[[Callable[..., Any]], Callable[..., Any]] = torch.library.register_fake(
        f"{NAMESPACE}::{name}"
    )
    return decorator


def first_order_only(name: str) -> None:
    """Makes the gradient of an operator refuse to be differentiated; torch would take it as 0."""

    def refuse(_ctx: Any, *_grads: Any) -> Any:
        raise NotImplementedError(f"{name}: its gradient is not differentiable")

    torch.library.register_autograd(f"{NAMESPACE}::{name}_backward", refuse)


def run_in_float32(name: str) -> None:
    """Makes autocast cast half and bfloat16 inputs of an operator to float32."""
    for device in ("cpu", "cuda"):
        torch.library.register_autocast(f"{NAMESPACE}::{name}", device, torch.float32)
