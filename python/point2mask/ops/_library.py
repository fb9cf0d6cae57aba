"""Loads ``torch.ops.point2mask`` and holds what every operator family shares."""

import re
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.util import find_spec
from inspect import signature
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast, get_args

import torch
from torch import Tensor

from point2mask import engine

NAMESPACE = "point2mask"
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# By spec, not by path: in an editable install the library lies in the build tree.
_spec = find_spec("point2mask._ops")
if _spec is None or _spec.origin is None:
    raise ImportError(
        "point2mask was installed without its compiled library _ops; reinstall it with "
        "`pip install .` from the source tree"
    )
TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])
if TORCH < (2, 10):
    raise ImportError(
        f"point2mask needs torch >= 2.10, found {torch.__version__}; "
        "upgrade with `pip install 'torch>=2.10'`"
    )
torch.ops.load_library(_spec.origin)
_library = torch.library.Library(NAMESPACE, "IMPL")

# "operator: argument must ..."; what fails on a device says "operator: CUDA error".
_ARGUMENT_ERROR = re.compile(r"[a-z_]+: (?!CUDA error)")

WITHOUT_CUDA: set[str] = set()  # operators that refuse CUDA tensors


def refuse_cuda_tensors(name: str) -> None:
    """Says in a sentence that an operator has no CUDA kernel; torch's own error does not."""
    operator = f"{NAMESPACE}::{name}"
    if torch._C._dispatch_has_kernel_for_dispatch_key(operator, "CUDA"):
        return
    reason = (
        "no CUDA kernel yet; move the tensors to the CPU"
        if engine.cuda_architectures
        else "point2mask was built without CUDA kernels; reinstall it where nvcc is found "
        "(POINT2MASK_CUDA=ON), or move the tensors to the CPU"
    )

    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise NotImplementedError(f"{name}: {reason}")

    torch.library.register_kernel(operator, "cuda", refuse)
    WITHOUT_CUDA.add(name)


def value_errors_of(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, with the RuntimeErrors that speak of an argument turned into ValueErrors."""

    def run(*arguments: Any) -> Any:
        try:
            return call(*arguments)
        except RuntimeError as error:
            if _ARGUMENT_ERROR.match(str(error)):
                raise ValueError(str(error)) from None
            raise

    return run


def raise_value_errors(name: str) -> None:
    """Makes bad arguments of an operator a ValueError, however it is called.

    The engine throws std::invalid_argument. Up to torch 2.14 that is a ValueError; from 2.15 on it
    is a RuntimeError, as any C++ exception. A Python kernel right above the devices' own (2.4 us a
    call) sees every call: eager, compiled, direct, and of a gradient.
    """
    if TORCH < (2, 15):
        return
    redispatch = value_errors_of(getattr(torch.ops.point2mask, name).default.redispatch)
    below = torch._C._dispatch_keyset_full_after(torch._C.DispatchKey.BackendSelect)

    def kernel(keys: torch._C.DispatchKeySet, *arguments: Any) -> Any:
        return redispatch(keys & below, *arguments)

    _library.impl(name, kernel, "BackendSelect", with_keyset=True)


def register_fake(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the shape function of ``torch.ops.point2mask.<name>``.

    Every operator has one, so this is also where it learns to raise ValueError and, without a CUDA
    kernel, to say so.
    """
    raise_value_errors(name)
    refuse_cuda_tensors(name)
    decorator: Callable[[Callable[..., Any]], Callable[..., Any]] = torch.library.register_fake(
        f"{NAMESPACE}::{name}"
    )
    return decorator


def check_rank(name: str, tensor: Tensor, axes: str) -> None:
    """For shape functions: a tensor has as many axes as are named, ``B, C, H, W`` say."""
    torch._check(
        tensor.dim() == axes.count(",") + 1,
        lambda: f"{name} must have shape [{axes}], got {tensor.shape}",
    )


def first_order_only(name: str) -> None:
    """Makes the gradient of an operator refuse to be differentiated; torch would take it as 0."""

    def refuse(_ctx: Any, *_grads: Any) -> Any:
        raise NotImplementedError(f"{name}: its gradient is not differentiable")

    torch.library.register_autograd(f"{NAMESPACE}::{name}_backward", refuse)


def differentiable(
    name: str, backward: Callable[..., Any], save: Callable[..., None], like: Sequence[int] = ()
) -> None:
    """Gives an operator a gradient that is not differentiated again.

    Args:
        name: of the operator; ``NAME_backward`` computes the gradient.
        backward, save: as ``torch.library.register_autograd`` takes them.
        like: places of the arguments of ``NAME_backward`` whose shapes its results have; none where
            it has a shape function of its own.
    """
    if like:

        @register_fake(f"{name}_backward")
        def _(*arguments: Any) -> Any:
            contiguous = torch.contiguous_format
            made = [torch.empty_like(arguments[i], memory_format=contiguous) for i in like]
            return tuple(made) if len(made) > 1 else made[0]

    torch.library.register_autograd(f"{NAMESPACE}::{name}", backward, setup_context=save)
    first_order_only(name)


def run_in_float32(name: str) -> None:
    """Makes autocast cast half and bfloat16 inputs of an operator to float32."""
    for device in ("cpu", "cuda"):
        torch.library.register_autocast(f"{NAMESPACE}::{name}", device, torch.float32)


def takes_tensors(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: says in a sentence which argument is no tensor; torch prints all of its values.

    The wrapped function raises TypeError for an argument annotated as a tensor that is none.
    """
    parameters = signature(function).parameters
    tensors = [Tensor in (p.annotation, *get_args(p.annotation)) for p in parameters.values()]
    checked = {name for name, is_tensor in zip(parameters, tensors, strict=True) if is_tensor}
    optional = {name for name in checked if type(None) in get_args(parameters[name].annotation)}

    def refuse(name: str, value: Any) -> None:
        if value is None and name in optional:
            return
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        hint = "; torch.from_numpy makes one" if kind == "numpy.ndarray" else ""
        raise TypeError(f"{function.__name__}: {name} must be a torch.Tensor, got {kind}{hint}")

    @wraps(function)
    def checking(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for is_tensor, name, value in zip(tensors, parameters, args, strict=False):
            if is_tensor and not isinstance(value, Tensor):
                refuse(name, value)
        for name, value in kwargs.items():
            if name in checked and not isinstance(value, Tensor):
                refuse(name, value)
        return function(*args, **kwargs)

    # torch.compile counts how often it compiles a piece of code, and stops at eight.
    plain = cast(FunctionType, checking)
    plain.__code__ = plain.__code__.replace(co_name=function.__name__)
    return checking
