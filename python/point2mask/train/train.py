"""The training loop."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from point2mask import checkpoint
from point2mask.data.claims import claimed
from point2mask.data.errors import DataError
from point2mask.data.files import write_json
from point2mask.data.sampling import Batches
from point2mask.data.training import Collated, TrainingSet
from point2mask.evaluation import PanopticQuality, figures
from point2mask.messages import number_of
from point2mask.models import PointNetwork
from point2mask.models.precision import mixed
from point2mask.predict import Predictor
from point2mask.pseudo_masks.batch import Batch
from point2mask.train.build import build_module, needs_truth
from point2mask.train.config import RunConfig, save_config, unfinished_warm_ups
from point2mask.train.errors import RunAwayError, Stopped, TrainingError
from point2mask.train.launch import in_any, launch, mean_over_steps, of_all_processes
from point2mask.train.optimizer import Average, make_optimizer, set_learning_rate
from point2mask.train.own_masks import turn_to_own_masks
from point2mask.train.pictures import training_picture
from point2mask.train.repeatable import repeatable, seed_generators
from point2mask.train.report import RunReport
from point2mask.train.saving import RunCounters, made_by, save, stopped, take_up
from point2mask.train.start import take_classes
from point2mask.train.stopping import Stop, ignore_stop
from point2mask.train.validation import Validation
from point2mask.trained import check_classes, without_download

# Takes the configuration; the result has a ``network`` and is called with a batch and a step.
MakeModule = Callable[[RunConfig], nn.Module]

NO_LOSSES = ("gradient_norm", "learning_rate")


def train(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    processes: int | None = None,
    device: str | None = None,
    make_module: MakeModule = build_module,
) -> dict[str, Any]:
    """Trains a network and returns what is also written to ``result.json``.

    ``out`` gets ``config.yaml``, ``checkpoints/``, ``tensorboard/``, ``pictures/``,
    ``result.json`` and, of a run that learns from masks of its own, ``masks/``. On the CPU equal
    configurations give equal bits, whether the run was interrupted or not, for the same number of
    threads, where the package was imported before torch multiplied anything. Several processes have
    the losses of one with the same images a step, but for what each draws or estimates by itself:
    dropout, and the statistics of batch normalisation that is not frozen.

    Args:
        config: the run.
        out: folder of the run.
        resume: go on from the last checkpoint in ``out``, if there is one.
        processes: how many were meant to be started; checked.
        device: where to work, as torch names it: ``cpu``, ``cuda`` or, for one process, ``cuda:N``;
            by default each process takes a GPU where there is one.
        make_module: for another module than the method's; one that is to learn from masks of its
            own has ``learn_from_masks()``.

    Raises:
        DataError: files or configuration are not what they should be.
        TrainingError: a loss or the gradient is not finite, or there is nothing to learn from.
        Stopped: SIGTERM came; a checkpoint is written.
    """
    run = Run(config, Path(out), launch(device, processes), make_module)
    with run.alone():
        run.open(resume)
        try:
            return run.run()
        finally:
            run.report.close()


class Run:
    """A training run: its data, its module and how far it is."""

    def __init__(
        self, config: RunConfig, out: Path, accelerator: Any, make_module: MakeModule
    ) -> None:
        self.config, self.out, self.accelerator = config, out, accelerator
        self.main: bool = accelerator.is_main_process
        self.rank: int = accelerator.process_index
        self.dataset = TrainingSet(
            config.data, config.augment, config.seed, with_truth=needs_truth(config)
        )
        self.images, self.without_things = len(self.dataset), self.dataset.skipped
        self.from_own_masks = False
        check_classes(config.network, self.dataset.categories, config.data.train.images)
        if not config.data.skip_broken:
            self.dataset.load(0)  # whether pictures are where they are looked for
        seed_generators(config.seed)
        # A checkpoint has all weights: none are looked for then, be they elsewhere by now.
        network = without_download(config.network) if self._begun() else config.network
        self.module = make_module(replace(config, network=network)).to(accelerator.device)
        self.module.train()
        self.network = cast(PointNetwork, self.module.network)
        self.anew = 0  # tensors that a network given to start from did not have for these classes
        if network.weights:
            self.anew = take_classes(self.network, network.weights, self.dataset.categories)
        self.optimizer = make_optimizer(self.module, config.schedule)
        self.parallel = accelerator.prepare(self.module)
        decay = config.schedule.ema_decay
        self.average = Average(self.module, decay) if decay else None
        # From here on, dropout: not to be the same in all processes.
        seed_generators(config.seed + self.rank)
        self.counters = RunCounters()
        self.batches = self._batches(0)
        self.total = config.schedule.steps or config.schedule.epochs * self.batches.steps_per_epoch
        self.predictor = Predictor(
            self.network, self.dataset.categories, config.augment, config.merge, config.supervision
        )
        self.validation = None
        if (val := config.data.val) is not None:
            self.validation = Validation(val, config.data.root, self.predictor, accelerator)
        self.last: tuple[Batch, Any] | None = None  # a batch and its pseudo-masks, for pictures
        self.report: RunReport
        self.stop = Stop()

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else writes to the folder meanwhile, and nothing of anybody else is in the way."""
        if not self.main:
            return nullcontext()
        return claimed(self.out, "train", () if self._begun() else made_by(self.config))

    def _begun(self) -> bool:
        return checkpoint.last_checkpoint(self.out / "checkpoints") is not None

    def open(self, resume: bool) -> None:
        """Takes up the last checkpoint, or starts a new folder."""
        if self._begun() and not resume:
            raise DataError(f"{self.out}: there is a run in it; --resume goes on with it")
        last, damaged = take_up(self, self.out / "checkpoints")
        self.accelerator.wait_for_everyone()
        if self.main:
            # A run that goes on has no result until it is finished anew.
            (self.out / "result.json").unlink(missing_ok=True)
            save_config(self.out / "config.yaml", self.config)
        self.report = RunReport(self.out, self.main, self.counters.step, self.total)
        for reason in damaged:
            self.report.say(reason)
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.report.say(
            f"{number_of(self.images, 'image')} ({self.without_things} without things left out), "
            f"{sum(p.numel() for p in parameters) / 1e6:.2f} M trained parameters, "
            f"{number_of(self.total, 'step')} of "
            f"{number_of(self.config.schedule.batch_size, 'image')} on "
            f"{self.accelerator.num_processes} x {self.accelerator.device.type}"
            + (f", from step {self.counters.step}" if last is not None else "")
        )
        if self.anew and last is None:
            self.report.say(
                f"{self.config.network.weights} has other classes, or lacks parts: {self.anew} "
                "tensors start anew"
            )
        for text in unfinished_warm_ups(self.config, self.total):
            self.report.say(f"warning: {text}")

    def run(self) -> dict[str, Any]:
        """To the end, or until SIGTERM comes."""
        with self.stop, repeatable(self.accelerator.device):
            return self._run()

    def _run(self) -> dict[str, Any]:
        schedule, report, counters = self.config.schedule, self.config.report, self.counters
        began = time.perf_counter() - counters.seconds
        window: list[dict[str, float]] = []
        quality, evaluated = None, False
        data: Iterator[Collated] | None = None
        while counters.step < self.total:
            if turn_to_own_masks(self) or data is None:
                data = self._load()
            epoch = self._epoch(counters.step)
            rate = set_learning_rate(self.optimizer, schedule, epoch)
            values = self._step(list(islice(data, schedule.accumulation)))
            if values is not None:
                window.append(values | {"learning_rate": rate})
                counters.learned += 1
            counters.step += 1
            counters.seconds = time.perf_counter() - began
            self.report.step(counters.step)
            end_of_epoch = self._epoch(counters.step) > epoch
            if counters.step % report.log_steps == 0 or end_of_epoch:
                if window:
                    means = mean_over_steps(window, self.accelerator)
                    counters.losses = {k: v for k, v in means.items() if k not in NO_LOSSES}
                    self.report.scalars(counters.step, epoch + 1, means)
                window = []
            if end_of_epoch:
                self._check_learned(epoch + 1)
                if not self._asked_to_stop():
                    with suppress(Stopped):
                        quality, evaluated = self._evaluate(epoch + 1), True
            asked = self._asked_to_stop()
            if asked or end_of_epoch or counters.step % report.checkpoint_steps == 0:
                counters.seconds = time.perf_counter() - began
                save(self)
            if asked:
                raise stopped(self)
        if not evaluated:  # a finished run was taken up again
            quality = self._evaluate(schedule.epochs)
            save(self)  # with what may be another by now and is predicted with, such as `merge`
        return self._finish(quality)

    def _asked_to_stop(self) -> bool:
        """Whether SIGTERM has come, to any of the processes."""
        (asked,) = in_any([self.stop.asked], self.accelerator)
        return asked

    def _check_learned(self, epoch: int) -> None:
        """An epoch that changes nothing is no success, whatever may be left out."""
        counters = self.counters
        if not counters.learned:
            broken = dict(of_all_processes(list(counters.broken.items())))
            reasons = [f"; {len(broken)} cannot be read, as {reason}" for reason in broken.values()]
            raise TrainingError(
                f"epoch {epoch}: nothing to learn from in any of {len(self.dataset)} images"
                + "".join(reasons[:1])
            )
        counters.learned = 0

    def _epoch(self, step: int) -> int:  # from 0
        return step * self.config.schedule.epochs // self.total

    def _batches(self, start: int) -> Batches:
        schedule = self.config.schedule
        try:
            return Batches(
                len(self.dataset),
                schedule.batch_size,
                self.config.seed,
                self.rank,
                self.accelerator.num_processes,
                schedule.accumulation,
                start,
            )
        except ValueError as error:
            raise DataError(f"schedule: {error}") from error

    def _load(self) -> Iterator[Collated]:
        """The batches of this process from the present step on."""
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_sampler=self._batches(self.counters.step),
            collate_fn=self.dataset.collate,
            num_workers=self.config.data.workers,
            worker_init_fn=ignore_stop,
            # Items do not depend on it, but without one the seeds of workers are drawn from the
            # state that dropout goes on with.
            generator=torch.Generator().manual_seed(self.config.seed),
        )
        return iter(loader)

    def _step(self, parts: list[Collated]) -> dict[str, float] | None:
        """One step of the optimiser: its averaged losses, or None if there was no click."""
        counters = self.counters
        for image in (image for _, broken in parts for image in broken):
            if not self.config.data.skip_broken:
                raise DataError(image.reason)
            counters.broken[image.name] = image.reason
        usable = self._usable(parts)
        counters.empty += len(parts) - len(usable)
        if not usable:
            return None
        sums: dict[str, float] = {}
        for index, batch in enumerate(usable, start=1):
            # Gradients are exchanged once a step, with the last part.
            last = index == len(usable)
            with nullcontext() if last else self.accelerator.no_sync(self.parallel):
                for name, value in self._backward(batch, len(usable)).items():
                    sums[name] = sums.get(name, 0.0) + value / len(usable)
        clip = self.config.schedule.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), clip)
        sums["gradient_norm"] = float(norm)
        if not np.isfinite(sums["gradient_norm"]):
            names = [name for batch in usable for name in batch.names]
            raise self._failure(f"the norm of the gradient is {sums['gradient_norm']}", names)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.module)
        return sums

    def _backward(self, batch: Batch, parts: int) -> dict[str, float]:
        """Adds the gradient of a part of a step; returns its losses."""
        names = batch.names
        batch = batch.to(self.accelerator.device)
        try:
            losses: dict[str, Tensor]
            with mixed(self.config.schedule.precision, self.accelerator.device):
                losses, pseudo_masks = self.parallel(batch, self.counters.step)
            values = torch.stack([loss.detach().float() for loss in losses.values()]).tolist()
            for name, value in zip(losses, values, strict=True):
                if not np.isfinite(value):
                    raise self._failure(f"loss {name!r} is {value}", self._culprits(name, names))
            total = torch.stack(list(losses.values())).sum()
            self.accelerator.backward(total / parts)
        except Exception as error:
            if isinstance(error, RunAwayError):
                raise self._failure(str(error), names) from error
            if not isinstance(error, TrainingError):
                error.add_note(f"at step {self.counters.step + 1}, images: {', '.join(names)}")
            raise
        self.last = (batch, pseudo_masks)
        return dict(zip(losses, values, strict=True)) | {"loss": float(total.detach())}

    def _usable(self, parts: list[Collated]) -> list[Batch]:
        """Parts with clicks in any of the processes, and with pictures in all of them."""
        batches = [batch for batch, _ in parts]
        absent = [batch is None for batch in batches]
        clicked = [bool(batch and (batch.points.category >= 0).any()) for batch in batches]
        lacks, has = np.split(np.array(in_any(absent + clicked, self.accelerator), bool), 2)
        return [batch for batch, fit in zip(batches, has & ~lacks, strict=True) if batch and fit]

    def _culprits(self, loss: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """The images whose part of a loss is not finite, where the module tells; else all."""
        parts = getattr(self.module, "image_losses", {}).get(loss)
        if parts is None:
            return names
        finite = parts.isfinite().tolist()
        return tuple(name for name, good in zip(names, finite, strict=True) if not good) or names

    def _failure(self, what: str, names: tuple[str, ...] | list[str]) -> TrainingError:
        images = ", ".join(names)
        return TrainingError(f"step {self.counters.step + 1}: {what}; images: {images}")

    def _evaluate(self, epoch: int) -> PanopticQuality | None:
        """Pictures and panoptic quality after an epoch that is evaluated; of averaged weights."""
        config, quality = self.config, None
        last = epoch == config.schedule.epochs
        if not (last or epoch % config.report.evaluate_epochs == 0):
            return None
        average = nullcontext() if self.average is None else self.average.swapped_in(self.module)
        self.module.eval()
        # Several processes wait for each other's counts: there it goes on to its end.
        alone = self.accelerator.num_processes == 1
        try:
            with average, self.stop.leaving_at_once() if alone else nullcontext():
                if self.main:
                    self._draw()
                if self.validation is not None:
                    limit = None if last else config.report.evaluate_images
                    quality = self.validation.quality(self.report, limit)
        finally:
            self.module.train()
        if quality is not None:
            self.report.quality(self.counters.step, epoch, quality)
        return quality

    def _draw(self) -> None:
        """Pictures of the last batch, and of the validation images."""
        step, count = self.counters.step, self.config.report.pictures
        if self.last is not None:
            batch, masks = self.last
            for number in range(min(count, len(batch.names))):
                picture = training_picture(batch, number, masks, self.predictor)
                self.report.picture(step, f"training_{number}", picture)
        if self.validation is not None:
            self.validation.draw(self.report, step, count)

    def _finish(self, quality: PanopticQuality | None) -> dict[str, Any]:
        """Writes ``result.json``."""
        counters = self.counters
        broken = dict(of_all_processes(list(counters.broken.items())))
        result: dict[str, Any] = {
            "steps": counters.step,
            "epochs": self.config.schedule.epochs,
            "seconds": round(counters.seconds, 3),
            "processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device.type),
            "images": self.images,
            "images_without_things": self.without_things,
            "empty_batches": counters.empty,
            "broken_images": broken,
            "losses": counters.losses,
            "quality": None if quality is None else figures(quality),
            "torch": torch.__version__,
        }
        if self.main:
            write_json(self.out / "result.json", result)
        return result
