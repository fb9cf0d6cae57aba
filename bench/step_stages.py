"""Which stage of a training step takes the CPU time and the memory, forward and backward."""

import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from operator import attrgetter
from typing import Any
from unittest.mock import patch

import torch
from timing import begin_peak, status
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from point2mask.losses import colors, criterion
from point2mask.losses.config import Architecture
from point2mask.train.module import TrainingModule

REST, OPTIMIZER = "the rest", "optimiser"
# Parts of the networks by attribute; of a method, everything that runs inside.
PARTS = {
    "backbone": "backbone.forward",
    "neck": "neck.forward",
    "encoder": "encoder.forward",
    "pixel decoder": "pixel_decoder.forward",
    "location decoder": "location_decoder.forward",
    "thing masks": "decode_things",
    "stuff masks": "decode_stuff",
    "mask features": "mask_features.forward",
    "queries": "decode_queries",
    "chosen queries": "decode",
    "noised targets": "decode_denoising",
    "semantic maps": "decode_semantics",
    "boundary and feature heads": "pseudo_mask_heads.forward",
}
ALL = ("backbone", "semantic maps", "boundary and feature heads")
PARTS_OF: dict[Architecture, tuple[str, ...]] = {
    "panoptic_segformer": ("neck", "encoder", "location decoder", "thing masks", "stuff masks"),
    "mask2former": ("pixel decoder", "queries"),
    "maskdino": ("neck", "encoder", "mask features", "chosen queries", "noised targets"),
}
# Functions by the modules that call them.
LOSSES = {
    "tree": ((colors, "image_tree"), (colors, "tree_energy")),
    "pair losses": (
        (colors, "cell_lab"),
        (colors, "lab_affinity"),
        (criterion, "boundary_separation"),
    ),
}
# The same by the names of their parameters.
OWNERS = {
    **{stage: path.removesuffix("forward") for stage, path in PARTS.items() if "." in path},
    "thing masks": "thing_decoder.",
    "stuff masks": "stuff_decoder.",
    "queries": "query_decoder.",
    "chosen queries": "decoder.",
    "noised targets": "label_embedding.",
    "semantic maps": "semantic_",
}


def stages_of(architecture: Architecture) -> tuple[str, ...]:
    """The stages of a step of a network, in their order."""
    parts = (name for name in PARTS if name in (*ALL, *PARTS_OF[architecture]))
    return (*parts, "pseudo-labels", *LOSSES, "other losses", REST, OPTIMIZER)


class Stages:
    """Seconds and bytes of one step.

    Attributes:
        names: of the stages.
        forward: seconds of each stage, without those inside it.
        backwards: of the gradients of what each stage computed.
        peaks: the largest size of the process while a stage runs, forward or backward.
        kept: bytes that autograd keeps for the backward pass, by the stage that was the first to
            ask for them; parameters and buffers, which are there anyway, are none of them.
    """

    def __init__(self, module: TrainingModule) -> None:
        self.module = module
        self.names = stages_of(module.network.config.architecture)
        self.forward: dict[str, float] = defaultdict(float)
        self.backwards: dict[str, float] = defaultdict(float)
        self.peaks: dict[str, int] = defaultdict(int)
        self.kept: dict[str, int] = defaultdict(int)
        self._known = {address(t) for t in (*module.parameters(), *module.buffers())}
        self._stage = REST
        self._since = time.process_time()
        self._marks: list[tuple[int, str]] = [(-1, REST)]  # numbers of nodes and what begins there

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        outer = self._stage
        self._switch(name)
        try:
            yield
        finally:
            self._switch(outer)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Times the stages of the module's forward pass inside the block."""
        with ExitStack() as patches:

            def watched(owner: Any, attribute: str, name: str) -> None:
                function = self._inside(name, getattr(owner, attribute))
                patches.enter_context(patch.object(owner, attribute, function))

            for name in (name for name in self.names if name in PARTS):
                owner, _, attribute = f"network.{PARTS[name]}".rpartition(".")
                watched(attrgetter(owner)(self.module), attribute, name)
            for name, functions in LOSSES.items():
                for caller, function in functions:
                    watched(caller, function, name)
            watched(self.module, "targets", "pseudo-labels")
            watched(criterion.Criterion, "__call__", "other losses")
            patches.enter_context(saved_tensors_hooks(self._keep, lambda tensor: tensor))
            self._enter(REST)
            yield
            self._switch(REST)

    def backward(self, loss: Tensor) -> None:
        """Runs the backward pass of what was watched."""

        def owner(parameter: str) -> str:
            return next((name for name, part in OWNERS.items() if parameter.startswith(part)), REST)

        owners = {p: owner(name) for name, p in self.module.network.named_parameters()}
        for node in nodes(loss.grad_fn):
            # A node that adds to a parameter's gradient has no number, but the parameter.
            parameter = getattr(node, "variable", None)
            name = self._maker(node) if parameter is None else owners[parameter]
            node.register_prehook(partial(self._begin, name))
        self._enter(REST)
        loss.backward()
        self._begin(REST)

    def _inside(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return run

    def _switch(self, name: str) -> None:
        self.forward[self._stage] += time.process_time() - self._since
        self._enter(name)
        self._marks.append((next_number(), name))

    def _begin(self, name: str, _: object = None) -> None:
        self.backwards[self._stage] += time.process_time() - self._since
        self._enter(name)

    def _keep(self, tensor: Tensor) -> Tensor:
        """Counts what a node saves, whose memory may be that of others: once."""
        if address(tensor) not in self._known:
            self._known.add(address(tensor))
            self.kept[self._stage] += tensor.untyped_storage().nbytes()
        return tensor

    def _enter(self, name: str) -> None:
        """Ends a stage and begins another, off the clock."""
        self.peaks[self._stage] = max(self.peaks[self._stage], status("VmHWM"))
        begin_peak()
        self._stage, self._since = name, time.process_time()

    def _maker(self, node: Any) -> str:
        """The stage during which a node was made."""
        return self._marks[bisect(self._marks, (node._sequence_nr(), "")) - 1][1]


def address(tensor: Tensor) -> int:
    """Where the memory that a tensor is a view of begins."""
    return tensor.untyped_storage().data_ptr()


def next_number() -> int:
    """The number that autograd gives to the node made next, or a little less."""
    with torch.enable_grad():
        probe = torch.zeros((), requires_grad=True) + 0
    assert probe.grad_fn is not None
    return probe.grad_fn._sequence_nr()


def nodes(root: Any) -> list[Any]:
    """Every node of autograd below one."""
    found, waiting = {root}, [root]
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None and node not in found:
                found.add(node)
                waiting.append(node)
    return list(found)
