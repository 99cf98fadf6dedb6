"""One run of a recipe on MONAI's trainer: the step, what follows an epoch, and what survives an interruption."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines.trainer import SupervisedTrainer
from torch import nn

from lib.learning.loop.average import WeightAverage
from lib.learning.loop.batches import build_loader, to_device
from lib.learning.loop.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    same_recipe,
    save_checkpoint,
)
from lib.learning.loop.progress import Report, Standing, eta_seconds
from lib.learning.loop.ranks import Ranks
from lib.learning.loop.schedule import build_optimizer, rate_factor
from lib.learning.loop.tally import Tally
from lib.learning.loop.tracking import Tracker
from lib.learning.loop.validation import CaseScore, Judge, class_means, mean_score
from lib.learning.recipes.recipe import Recipe

MAX_SKIPS_IN_A_ROW = 25
logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"


class Diverged(RuntimeError):
    """No step has had a finite loss and gradient for too long."""


class Session:
    """A recipe at work on one network.

    Args:
        recipe: The options and the step.
        network: The network, on its device; trained in place.
        patches: A map-style data set of batches' items.
        judge: Scores the network on held-out cases; absent, the last weights are the best.
        ranks: This process among its peers.
        workdir: Where checkpoints go.
        report: Told of every step.
        should_stop: Asked at every step.
        trackers: Told of every epoch.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        patches: Any,
        judge: Judge | None,
        *,
        ranks: Ranks,
        workdir: Path,
        report: Report,
        should_stop: Callable[[], bool],
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.recipe, self.network, self.judge, self.ranks = recipe, network, judge, ranks
        self.workdir, self.report, self.should_stop, self.trackers = workdir, report, should_stop, trackers
        recipe.prepare(network)
        self.parallel = ranks.wrap(network, recipe.partly)
        self.average = WeightAverage(network, recipe.ema_decay)
        self.optimizer = build_optimizer(network, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.amp_dtype = _amp_dtype() if recipe.amp and ranks.device.type == "cuda" else torch.float32
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=self.amp_dtype == torch.float16)
        loader, self.sampler = build_loader(
            recipe.feed(patches), batch_size=recipe.batch_size, num_workers=recipe.num_workers, ranks=ranks
        )
        self.epoch_steps = math.ceil(len(self.sampler) / recipe.batch_size)
        self.tally, self.stopped, self.best_weights = Tally(), "finished", _on_cpu(self.average.network)
        self._bad_in_a_row, self._sums, self._started = 0, {}, time.monotonic()
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
        """Steps in all."""
        return self.recipe.max_epochs * self.epoch_steps

    def run(self) -> None:
        """Train until the epochs, the time or the patience end, or someone asks to stop."""
        self._started = time.monotonic() - self.tally.seconds
        try:
            if not self._over_before_it_began():
                self.trainer.run()
            self._end_partial_epoch()
        except KeyboardInterrupt:
            self.stopped = "interrupted"
        self._keep_last_if_never_judged()
        self._save()

    def _over_before_it_began(self) -> bool:
        """Say whether the checkpoint is of a run that had ended."""
        if self._done() >= 1:
            self.stopped = "finished" if self.tally.step >= self.steps else "time"
        elif self._out_of_patience():
            self.stopped = "early"
        else:
            return False
        return True

    def _end_partial_epoch(self) -> None:
        """Record an epoch that was cut, and judge it if the clock cut it; a person who asks to stop does not wait."""
        if not self._sums:
            return
        epoch = math.ceil(self.tally.step / self.epoch_steps)
        self._record(epoch)
        if self.stopped == "time":
            self._judge(epoch)
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
        self.tally.seconds = time.monotonic() - self._started
        # Processes must agree on all three, or their weights part.
        bad, asked, done = self.ranks.largest(float(not finite), float(self.should_stop()), self._done())
        self._set_rate(done)
        self._descend(bool(bad))
        values = {name: float(value.detach()) for name, value in losses.items()}
        self._account(values, bool(bad))
        self.report(self._standing(engine.state.epoch, values["loss"], done))
        self._stop_if_due(bool(asked), done)
        return values

    def _done(self) -> float:
        """Return the fraction of the run that is over, by steps or by time, whichever is further."""
        budget = self.recipe.max_minutes * 60 - self.tally.judging_seconds
        spent = self.tally.seconds / max(budget, 1e-9) if self.recipe.max_minutes else 0.0
        return min(1.0, max(self.tally.step / self.steps, spent))

    def _set_rate(self, done: float) -> None:
        factor = rate_factor(self.recipe.schedule, done, step=self.tally.step, warmup_steps=self.recipe.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * factor

    def _descend(self, bad: bool) -> None:
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

    def _account(self, values: dict[str, float], bad: bool) -> None:
        self.tally.step += 1
        self.tally.skipped += bad
        if not bad:
            for name, value in values.items():
                total, count = self._sums.get(name, (0.0, 0))
                self._sums[name] = (total + value, count + 1)

    def _stop_if_due(self, asked: bool, done: float) -> None:
        if self.tally.step >= self.steps:
            return
        if asked:
            self.stopped = "requested"
        elif self.recipe.max_minutes and done >= 1:
            self.stopped = "time"
        else:
            return
        self.trainer.terminate()

    def _standing(self, epoch: int, loss: float, done: float) -> Standing:
        tally = self.tally
        left = eta_seconds(tally.seconds, max(done, tally.step / self.steps))
        return Standing(
            epoch, self.recipe.max_epochs, tally.step, self.steps, loss, tally.best_score, tally.seconds, left
        )

    def _begin_epoch(self, engine: Any) -> None:
        self.sampler.epoch = engine.state.epoch
        self._sums = {}

    def _end_epoch(self, engine: Any) -> None:
        epoch = engine.state.epoch
        self._record(epoch)
        if epoch % self.recipe.val_interval == 0 or epoch == self.recipe.max_epochs:
            self._judge(epoch)
        self._track()
        self._save()
        if self._out_of_patience():
            self.stopped = "early"
            engine.terminate()

    def _record(self, epoch: int) -> None:
        row = {name: total / count for name, (total, count) in self._sums.items()}
        row |= {"learning_rate": self.optimizer.param_groups[0]["lr"], "seconds": self.tally.seconds}
        self.tally.history.append({"epoch": epoch, "step": self.tally.step, **row})
        self._sums = {}

    def _track(self) -> None:
        values = {name: value for name, value in self.tally.history[-1].items() if name not in ("epoch", "step")}
        for tracker in self.trackers:
            tracker.log(values, self.tally.step)

    def _out_of_patience(self) -> bool:
        patience = self.recipe.early_stop_patience
        return bool(patience) and self.tally.since_best >= patience

    def _judge(self, epoch: int) -> None:
        if self.judge is None:
            return
        began = time.monotonic()
        cases = self.judge(self.average.network.eval(), self.ranks)
        self.tally.judged_step, self.tally.judging_seconds = self.tally.step, time.monotonic() - began
        score = mean_score(cases)
        dices = {f"dice_{name}": value for name, value in class_means(cases).items()}
        self.tally.history[-1] |= {"score": score, **dices}
        if math.isnan(self.tally.best_score) or score > self.tally.best_score:
            self._take_as_best(epoch, score, cases)
        else:
            self.tally.since_best += 1

    def _take_as_best(self, epoch: int, score: float, cases: list[CaseScore]) -> None:
        self.tally.best_score, self.tally.best_epoch, self.tally.since_best = score, epoch, 0
        self.tally.metrics, self.best_weights = cases, _on_cpu(self.average.network)
        if self.ranks.first:
            save_checkpoint(self.workdir / BEST, {"weights": self.best_weights, "score": score, "epoch": epoch})

    def _keep_last_if_never_judged(self) -> None:
        if self.tally.best_epoch == 0:
            self.best_weights = _on_cpu(self.average.network)

    def _save(self) -> None:
        if not self.ranks.first:
            return
        self.tally.seconds = time.monotonic() - self._started
        state = {
            "recipe": dataclasses.asdict(self.recipe),
            "tally": dataclasses.asdict(self.tally),
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "average_steps": self.average.steps,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_state(),
        }
        save_checkpoint(self.workdir / CHECKPOINT, state)

    def resume(self) -> bool:
        """Go on from the checkpoint in the work folder.

        Returns:
            Whether there was one.
        Raises:
            ValueError: If it cannot be read, or other options wrote it.
        """
        if not (self.workdir / CHECKPOINT).exists():
            return False
        state = load_checkpoint(self.workdir / CHECKPOINT)
        same_recipe(state["recipe"], dataclasses.asdict(self.recipe))
        self.tally = Tally(**state["tally"])
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ranks.first:
            restore_random_state(state["random"])
        if self.tally.best_epoch:
            self.best_weights = load_checkpoint(self.workdir / BEST)["weights"]
        self.trainer.load_state_dict(
            {"iteration": self.tally.step, "epoch_length": self.epoch_steps, "max_epochs": self.recipe.max_epochs}
        )
        self.sampler.start = self.tally.step % self.epoch_steps * self.recipe.batch_size
        logger.info("goes on after step %d of %d", self.tally.step, self.epoch_steps * self.recipe.max_epochs)
        return True


def _amp_dtype() -> torch.dtype:
    # Before Ampere bfloat16 is emulated, and slow.
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _on_cpu(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
