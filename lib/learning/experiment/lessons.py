"""The arms: how a student comes by what it knows, each with the same steps, the same labels and the same beginning."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from lib.data.cases import Case, find_cases
from lib.data.patches.dataset import PatchDataset
from lib.data.patches.label_maps import maps_of
from lib.data.pipeline import ImageSpec, Reading, read, window
from lib.learning import synthetic
from lib.learning.experiment.plan import Plan
from lib.learning.experiment.pool import Pool
from lib.learning.loop import fit
from lib.learning.loop.validation import CaseScore, case_dice
from lib.learning.recipes.distil import Distil
from lib.learning.recipes.finetune import Finetune
from lib.learning.recipes.imitate import Imitate
from lib.learning.recipes.mae import MAE
from lib.learning.recipes.moco import MoCo
from lib.learning.recipes.prompt_free import PromptFree
from lib.learning.recipes.recipe import Recipe
from lib.learning.recipes.synthesise import Synthesise
from lib.learning.teacher import Teacher
from lib.models import BUILDERS, PROMPTED
from lib.models.denoiser import Denoiser
from lib.models.inference.predictor import Predictor
from lib.models.student.imitation import Imitation
from lib.models.student.masked import MaskedImages
from lib.models.student.momentum import MomentumPair
from lib.models.weights import load_weights, save_weights

PER_CASE = 6
"""Slices of a case that the diffusion model's maps, and the search for copies, are taken from."""
CROWD = 4
"""MoCo's batch is so many times the others', its steps as many times fewer: it tells a place from others."""


class Lessons:
    """All arms of one seed; what several of them share is made once and kept.

    Args:
        plan: The experiment.
        pool: Its images.
        seed: Of labels, beginnings and patches.
        folder: Where what is shared is kept.
        device: Where networks run.
    """

    def __init__(self, plan: Plan, pool: Pool, seed: int, folder: Path, device: str | torch.device = "cpu") -> None:
        self.plan, self.pool, self.seed, self.folder, self.device = plan, pool, seed, folder, device
        self.channels = len(plan.image.slice_offsets)
        # What a teacher said of a case is asked for by several arms; it goes with the lessons.
        self._answers = TemporaryDirectory()

    def teach(self, arm: str, labels: int) -> nn.Module:
        """Return the student of an arm that learned from so many labels."""
        budget = self.plan.budget
        if arm in ("specific", "synthetic"):
            return self._distilled(labels, synthetic=arm == "synthetic")
        network = self.student()
        if arm != "scratch":
            load_weights(network, self._once(f"{arm}-{self.seed}", lambda: self._pretrained(arm)))
        steps = budget.finetune + (budget.lesson if arm == "scratch" else 0)
        return self._fit(self._recipe(Finetune, steps), network, self._patches(self._labelled(labels), steps))

    def student(self) -> nn.Module:
        """Return the student as every arm of the seed begins with it."""
        torch.manual_seed(self.seed)
        classes = len(self.plan.data.classes) + 1
        return BUILDERS[self.plan.student](spatial_dims=2, in_channels=self.channels, out_channels=classes)

    def teacher(self, labels: int) -> nn.Module:
        """Return the teacher that was tuned on so many labels."""
        network = self._foundation(self.plan.rank)

        def tuned() -> nn.Module:
            budget, kind = self.plan.budget, PromptFree if self.plan.prompted else Finetune
            recipe = self._recipe(kind, budget.teacher, budget.teacher_batch, budget.teacher_rate)
            patches = self._patches(
                self._labelled(labels), budget.teacher, budget.teacher_batch, spec=self.plan.teacher_image
            )
            return self._fit(recipe, network, patches)

        load_weights(network, self._once(f"teacher-{self.seed}-{labels}", tuned))
        return network.eval()

    def judge(self, network: nn.Module, *, teacher: bool = False) -> list[CaseScore]:
        """Return the Dice of every class on every case that judges."""
        spec = self.plan.teacher_image if teacher else self.plan.image
        predictor = Predictor(
            network.eval(),
            roi=spec.roi,
            slice_offsets=spec.slice_offsets,
            device=self.device,
            fixed=teacher and self.plan.prompted,
        )
        scores = []
        for case, reading in zip(self.pool.judging, self.pool.judges, strict=True):
            assert reading.label is not None, "who judges has a label"
            found = predictor.labels(window(reading.hu.clone(), spec.window_hu)).numpy()
            scores.append({"case": case.id, "scores": case_dice(found, reading.label.numpy(), self.plan.data.classes)})
        return scores

    def made(self) -> list[Case]:
        """Return the images that the diffusion model of the seed made.

        It learned from the pool's images under the labels that the teacher of the fewest labels gives them, so that no
        arm hears of a label that is not its own.
        """
        where = self.folder / f"synthetic-{self.seed}"
        with FileLock(self.folder / f"synthetic-{self.seed}.lock"):
            if not (where / synthetic.REPORT).exists():
                shutil.rmtree(where, ignore_errors=True)
                self._synthesise(where)
        return find_cases(where / synthetic.CASES)

    def _synthesise(self, where: Path) -> None:
        plan, spec = self.plan, synthetic.neighbours(self.plan.image)
        outputs = self._outputs(min(plan.labels), self.pool.cases)
        labels = [torch.from_numpy(each.argmax(1).astype(np.uint8)).permute(1, 2, 0) for each in outputs]
        shown = [replace(reading, label=label) for reading, label in zip(self.pool.readings, labels, strict=True)]
        torch.manual_seed(self.seed)
        network = Denoiser(slices=len(spec.slice_offsets), classes=len(plan.data.classes) + 1)
        recipe = self._recipe(Synthesise, plan.budget.diffusion, rate=1e-3)
        self._fit(recipe, network, self._patches(shown, plan.budget.diffusion, spec=spec, augment=recipe))
        owners = [case.patient for case in self.pool.cases]
        learned = maps_of(zip(owners, shown, strict=True), spec, per_case=PER_CASE)
        if len(set(learned.owners)) < 2:
            # A teacher that draws next to nothing yet leaves the slices that it was tuned on.
            drawn, cases = self.pool.drawn(min(plan.labels), self.seed)
            learned = maps_of(zip([case.patient for case in cases], drawn, strict=True), spec, per_case=PER_CASE)
        unseen = maps_of(((c.patient, r) for c, r in zip(self.pool.judging, self.pool.judges, strict=True)), spec,
                         per_case=PER_CASE)  # fmt: skip
        rng = np.random.default_rng([self.seed, 23])
        chosen = rng.choice(len(learned.labels), plan.synthetic, replace=plan.synthetic > len(learned.labels))
        made = synthetic.make(network, learned.labels[chosen], learned, unseen, seed=self.seed)
        synthetic.write(made, spec, where, learned)

    def _distilled(self, labels: int, *, synthetic: bool) -> nn.Module:
        budget, teacher = self.plan.budget, self.teacher(labels)
        extra = self.made() if synthetic else []
        drawn, cases = self.pool.drawn(labels, self.seed)
        shown = [*self.pool.bare(), *(read(case.image, self.plan.image) for case in extra)]
        soft = self._outputs(labels, [*self.pool.cases, *extra, *cases])
        patches = self._patches([*shown, *drawn], budget.lesson, soft=soft)
        recipe = self._recipe(Distil, budget.lesson, encoder_weight=self.plan.encoder_weight, finetune_epochs=0)
        student = self.student()
        self._fit(recipe, recipe.assemble(student, teacher, self.plan.image, self.plan.teacher_image), patches)
        return self._fit(self._recipe(Finetune, budget.finetune), student, self._patches(drawn, budget.finetune))

    def _pretrained(self, arm: str) -> nn.Module:
        steps, student = self.plan.budget.lesson, self.student()
        sizes: dict[str, Any] = {"spatial_dims": 2, "in_channels": self.channels}
        wrapped: dict[str, tuple[type[Recipe], Callable[[], nn.Module]]] = {
            "mae": (MAE, lambda: MaskedImages(student, **sizes)),
            "moco": (MoCo, lambda: MomentumPair(student, **sizes)),
            "agnostic": (Imitate, lambda: Imitation(student, self._foundation(0), **sizes)),
        }
        kind, wrap = wrapped[arm]
        self._fit(self._recipe(kind, steps), wrap(), self._patches(self.pool.bare(), steps, bare=True))
        return student

    def _outputs(self, labels: int, cases: Sequence[Case]) -> list[np.ndarray]:
        teacher = Teacher(self.teacher(labels), self.plan.teacher_image, f"{self.seed}-{labels}")
        return teacher.outputs(cases, Path(self._answers.name), self.device)

    def _foundation(self, rank: int) -> nn.Module:
        if self.plan.prompted:
            foundation = self.plan.foundation or None
            return PROMPTED[self.plan.teacher](self.plan.image.roi[0], rank=rank, foundation=foundation)
        torch.manual_seed(self.seed)
        classes = len(self.plan.data.classes) + 1
        return BUILDERS[self.plan.teacher](spatial_dims=2, in_channels=self.channels, out_channels=classes)

    def _labelled(self, labels: int) -> list[Reading]:
        return self.pool.drawn(labels, self.seed)[0]

    def _recipe(self, kind: type[Recipe], steps: int, batch: int = 0, rate: float = 0.0, **options: Any) -> Recipe:
        budget = self.plan.budget
        batch = batch or budget.batch
        return kind(
            max_epochs=1,
            patches_per_epoch=steps * batch,
            batch_size=batch * (CROWD if kind is MoCo else 1),
            learning_rate=rate or budget.rate,
            warmup_steps=max(1, steps // 20),
            schedule="cosine",
            seed=self.seed,
            **options,
        )

    def _patches(
        self,
        readings: Sequence[Reading],
        steps: int,
        batch: int = 0,
        *,
        spec: ImageSpec | None = None,
        augment: Recipe | None = None,
        soft: Sequence[np.ndarray] | None = None,
        bare: bool = False,
    ) -> PatchDataset:
        how = (augment or Finetune()).augmentation()
        return PatchDataset(
            readings,
            spec or self.plan.image,
            classes=len(self.plan.data.classes) + 1,
            patches_per_epoch=steps * (batch or self.plan.budget.batch),
            seed=self.seed,
            augment=how,
            soft=soft,
            bare=bare,
        )

    def _fit(self, recipe: Recipe, network: nn.Module, patches: PatchDataset) -> nn.Module:
        with TemporaryDirectory() as workdir:
            told = fit(
                recipe, network, patches, None, workdir=Path(workdir), device=self.device, progress=lambda _: None,
                track=False,
            )  # fmt: skip
        network.load_state_dict(told.state_dict)
        return network

    def _once(self, name: str, make: Callable[[], nn.Module]) -> Path:
        path = self.folder / f"{name}.safetensors"
        with FileLock(self.folder / f"{name}.lock"):
            if not path.exists():
                partial = path.with_name(f"partial-{name}.safetensors")
                save_weights(make(), partial)
                partial.replace(path)
        return path
