"""Run a recipe on MONAI's trainer: training steps, validation after epochs, checkpoints and resuming."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.learning.loop.average import WeightAverage
from lib.learning.loop.batches import build_loader, to_device
from lib.learning.loop.checkpoint import (
    load_checkpoint,
    random_state,
    require_same_groups,
    require_same_options,
    restore_random_state,
    save_checkpoint,
)
from lib.learning.loop.progress import ProgressCallback, TrainingProgress, eta_seconds
from lib.learning.loop.ranks import Ranks
from lib.learning.loop.schedule import build_optimizer, rate_factor
from lib.learning.loop.tally import TrainingState
from lib.learning.loop.tracking import Tracker
from lib.learning.loop.validation import CaseScore, ValidationFunction, class_means, mean_score
from lib.learning.recipes.recipe import Recipe
from lib.models.inference.engine import has_bfloat16_units

MAX_SKIPS_IN_A_ROW = 25
logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"


class Diverged(RuntimeError):
    """Raised when too many steps in a row had no finite loss and gradient."""


class TrainingSession:
    """Training of one network with one recipe.

    Args:
        recipe: Options and training step.
        network: Network on its device; trained in place.
        patches: Map-style data set of the items of the batches.
        validate: Function that scores the network on the validation cases; without it, the last weights are the best.
        ranks: Rank and device of this process.
        workdir: Folder of the checkpoints.
        report: Called with the progress after every step.
        should_stop: Called at every step; the run ends when it returns True.
        trackers: Recorders that get the values of every epoch.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        patches: Any,
        validate: ValidationFunction | None,
        *,
        ranks: Ranks,
        workdir: Path,
        report: ProgressCallback,
        should_stop: Callable[[], bool],
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.recipe, self.network, self.validate, self.ranks = recipe, network, validate, ranks
        self.workdir, self.report, self.should_stop, self.trackers = workdir, report, should_stop, trackers
        recipe.select_parameters(network)
        self.parallel = ranks.wrap(network, recipe.has_unused_parameters)
        self.average = WeightAverage(network, recipe.ema_decay)
        self.optimizer = build_optimizer(network, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.amp_dtype = _amp_dtype() if recipe.amp and ranks.device.type == "cuda" else torch.float32
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=self.amp_dtype == torch.float16)
        loader, self.sampler = build_loader(
            recipe.wrap_patches(patches), batch_size=recipe.batch_size, num_workers=recipe.num_workers, ranks=ranks
        )
        self.epoch_steps = math.ceil(len(self.sampler) / recipe.batch_size)
        self.state, self.stopped, self.best_weights = TrainingState(), "finished", _on_cpu(self.average.network)
        self._bad_in_a_row, self._sums, self._started = 0, {}, time.monotonic()
        # Imported where a training begins: a server imports this module and trains nothing.
        from ignite.engine import Events
        from monai.engines.trainer import SupervisedTrainer

        self.trainer = SupervisedTrainer(
            device=ranks.device,
            max_epochs=recipe.max_epochs,
            train_data_loader=loader,
            network=self.parallel,
            optimizer=self.optimizer,
            loss_function=lambda *_: None,
            epoch_length=self.epoch_steps,
            iteration_update=self._update,
            decollate=False,
        )
        self.trainer.add_event_handler(Events.EPOCH_STARTED, self._begin_epoch)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)

    @property
    def steps(self) -> int:
        """Number of steps of the whole run."""
        return self.recipe.max_epochs * self.epoch_steps

    def run(self) -> None:
        """Train until the epochs, the time limit or the patience are used up, or a stop is requested."""
        self._started = time.monotonic() - self.state.seconds
        try:
            if not self._was_complete():
                self.trainer.run()
            self._end_partial_epoch()
        except KeyboardInterrupt:
            self.stopped = "interrupted"
        self._use_last_if_never_validated()
        self._save()

    def _was_complete(self) -> bool:
        """Return whether the checkpoint belongs to a run that had ended; set the reason in `stopped`."""
        if self._fraction_done() >= 1:
            self.stopped = "finished" if self.state.step >= self.steps else "time"
        elif self._out_of_patience():
            self.stopped = "early"
        else:
            return False
        return True

    def _end_partial_epoch(self) -> None:
        """Record an interrupted epoch; validate it after the time limit, but not after a stop request."""
        if not self._sums:
            return
        epoch = math.ceil(self.state.step / self.epoch_steps)
        self._record(epoch)
        if self.stopped == "time":
            self._validate(epoch)
        self._track()

    def _update(self, engine: Any, batch: dict[str, Any]) -> dict[str, float]:
        self.parallel.train()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.ranks.device.type, self.amp_dtype, enabled=self.amp_dtype != torch.float32):
            losses = self.recipe.step(self.parallel, to_device(batch, self.ranks.device))
        self.scaler.scale(losses["loss"]).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        finite = bool(torch.isfinite(norm)) and bool(torch.isfinite(losses["loss"]))
        self.state.seconds = time.monotonic() - self._started
        # All processes must take the same three decisions; otherwise their weights diverge.
        bad, stop_requested, done = self.ranks.max_over_processes(
            float(not finite), float(self.should_stop()), self._fraction_done()
        )
        self._set_rate(done)
        self._update_weights(bool(bad))
        values = {name: float(value.detach()) for name, value in losses.items()}
        self._count_step(values, bool(bad))
        self.report(self._progress(engine.state.epoch, values["loss"], done))
        self._stop_if_needed(bool(stop_requested), done)
        return values

    def _fraction_done(self) -> float:
        """Return the fraction of the run that is done, by steps or by time, whichever is larger."""
        budget = self.recipe.max_minutes * 60 - self.state.judging_seconds
        spent = self.state.seconds / max(budget, 1e-9) if self.recipe.max_minutes else 0.0
        return min(1.0, max(self.state.step / self.steps, spent))

    def _set_rate(self, done: float) -> None:
        factor = rate_factor(self.recipe.schedule, done, step=self.state.step, warmup_steps=self.recipe.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * factor

    def _update_weights(self, bad: bool) -> None:
        if not bad:
            self.scaler.step(self.optimizer)
            self.average.update(self.network)
        self.scaler.update()
        self._bad_in_a_row = self._bad_in_a_row + 1 if bad else 0
        if self._bad_in_a_row >= MAX_SKIPS_IN_A_ROW:
            raise Diverged(
                f"{MAX_SKIPS_IN_A_ROW} steps in a row had no finite loss and gradient: lower learning_rate "
                f"({self.recipe.learning_rate:g}), or check the images for values that are not finite"
            )

    def _count_step(self, values: dict[str, float], bad: bool) -> None:
        self.state.step += 1
        self.state.skipped += bad
        if not bad:
            for name, value in values.items():
                total, count = self._sums.get(name, (0.0, 0))
                self._sums[name] = (total + value, count + 1)

    def _stop_if_needed(self, stop_requested: bool, done: float) -> None:
        if self.state.step >= self.steps:
            return
        if stop_requested:
            self.stopped = "requested"
        elif self.recipe.max_minutes and done >= 1:
            self.stopped = "time"
        else:
            return
        self.trainer.terminate()

    def _progress(self, epoch: int, loss: float, done: float) -> TrainingProgress:
        state = self.state
        left = eta_seconds(state.seconds, max(done, state.step / self.steps))
        return TrainingProgress(
            epoch, self.recipe.max_epochs, state.step, self.steps, loss, state.best_score, state.seconds, left
        )

    def _begin_epoch(self, engine: Any) -> None:
        self.sampler.epoch = engine.state.epoch
        self._sums = {}

    def _end_epoch(self, engine: Any) -> None:
        epoch = engine.state.epoch
        self._record(epoch)
        if epoch % self.recipe.val_interval == 0 or epoch == self.recipe.max_epochs:
            self._validate(epoch)
        self._track()
        self._save()
        if self._out_of_patience():
            self.stopped = "early"
            engine.terminate()

    def _record(self, epoch: int) -> None:
        row = {name: total / count for name, (total, count) in self._sums.items()}
        row |= {"learning_rate": self.optimizer.param_groups[0]["lr"], "seconds": self.state.seconds}
        self.state.history.append({"epoch": epoch, "step": self.state.step, **row})
        self._sums = {}

    def _track(self) -> None:
        values = {name: value for name, value in self.state.history[-1].items() if name not in ("epoch", "step")}
        for tracker in self.trackers:
            tracker.log(values, self.state.step)

    def _out_of_patience(self) -> bool:
        patience = self.recipe.early_stop_patience
        return bool(patience) and self.state.since_best >= patience

    def _validate(self, epoch: int) -> None:
        if self.validate is None:
            return
        began = time.monotonic()
        cases = self.validate(self.average.network.eval(), self.ranks)
        self.state.judged_step, self.state.judging_seconds = self.state.step, time.monotonic() - began
        score = mean_score(cases)
        dices = {f"dice_{name}": value for name, value in class_means(cases).items()}
        self.state.history[-1] |= {"score": score, **dices}
        if math.isnan(self.state.best_score) or score > self.state.best_score:
            self._save_best(epoch, score, cases)
        else:
            self.state.since_best += 1

    def _save_best(self, epoch: int, score: float, cases: list[CaseScore]) -> None:
        self.state.best_score, self.state.best_epoch, self.state.since_best = score, epoch, 0
        self.state.metrics, self.best_weights = cases, _on_cpu(self.average.network)
        if self.ranks.is_first:
            save_checkpoint(self.workdir / BEST, {"weights": self.best_weights, "score": score, "epoch": epoch})

    def _use_last_if_never_validated(self) -> None:
        if self.state.best_epoch == 0:
            self.best_weights = _on_cpu(self.average.network)

    def _save(self) -> None:
        if not self.ranks.is_first:
            return
        self.state.seconds = time.monotonic() - self._started
        checkpoint = {
            "recipe": dataclasses.asdict(self.recipe),
            "tally": dataclasses.asdict(self.state),
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "average_steps": self.average.steps,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_state(),
        }
        save_checkpoint(self.workdir / CHECKPOINT, checkpoint)

    def resume(self) -> bool:
        """Load the checkpoint in the work folder and continue its run.

        Returns:
            Whether there was a checkpoint.
        Raises:
            ValueError: If the checkpoint cannot be read or was written with other options.
        """
        if not (self.workdir / CHECKPOINT).exists():
            return False
        checkpoint = load_checkpoint(self.workdir / CHECKPOINT)
        require_same_options(checkpoint["recipe"], dataclasses.asdict(self.recipe))
        require_same_groups(checkpoint["optimizer"], self.optimizer)
        self.state = TrainingState(**checkpoint["tally"])
        self.network.load_state_dict(checkpoint["network"])
        self.average.network.load_state_dict(checkpoint["average"])
        self.average.steps = checkpoint["average_steps"]
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scaler.load_state_dict(checkpoint["scaler"])
        if self.ranks.is_first:
            restore_random_state(checkpoint["random"])
        if self.state.best_epoch:
            self.best_weights = load_checkpoint(self.workdir / BEST)["weights"]
        self.trainer.load_state_dict(
            {"iteration": self.state.step, "epoch_length": self.epoch_steps, "max_epochs": self.recipe.max_epochs}
        )
        self.sampler.start = self.state.step % self.epoch_steps * self.recipe.batch_size
        logger.info("training resumes after step %d of %d", self.state.step, self.epoch_steps * self.recipe.max_epochs)
        return True


def _amp_dtype() -> torch.dtype:
    return torch.bfloat16 if has_bfloat16_units() else torch.float16


def _on_cpu(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
