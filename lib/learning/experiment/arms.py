"""Train the arms of an experiment; every arm has the same initial student, the same labels and the same steps."""

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
from lib.data.patches.label_maps import case_maps
from lib.data.patches.sides import AugmentSpec
from lib.data.pipeline import ImageSpec, Reading, read
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
"""Slices per case that give label maps to the diffusion model and references to the search for copies."""
MOCO_BATCH_FACTOR = 4
"""MoCo's batch is this many times larger and its steps are as many times fewer: a batch supplies the negatives."""


class ArmTrainer:
    """Train all arms of one seed; networks and images that several arms share are made once and cached.

    Args:
        plan: The experiment.
        pool: Images of the experiment.
        seed: Seed of the labelled slices, the initial weights and the patches.
        folder: Cache of the shared networks and images.
        device: Device on which networks run.
    """

    def __init__(self, plan: Plan, pool: Pool, seed: int, folder: Path, device: str | torch.device = "cpu") -> None:
        self.plan, self.pool, self.seed, self.folder, self.device = plan, pool, seed, folder, device
        self.channels = len(plan.image.slice_offsets)
        # Several arms use the teacher's logits of a case; this cache is removed with the trainer.
        self._logits = TemporaryDirectory()

    def train_student(self, arm: str, labels: int) -> nn.Module:
        """Train the student of an arm with `labels` labelled slices and return it."""
        budget = self.plan.budget
        if arm in ("specific", "synthetic"):
            return self._distil(labels, synthetic=arm == "synthetic")
        network = self.build_student()
        if arm != "scratch":
            load_weights(network, self._cached_weights(f"{arm}-{self.seed}", lambda: self._pretrain(arm)))
        steps = budget.finetune + (budget.lesson if arm == "scratch" else 0)
        return self._fit(self._recipe(Finetune, steps), network, self._patches(self._labelled(labels), steps))

    def build_student(self) -> nn.Module:
        """Return the student with the initial weights that all arms of the seed share."""
        torch.manual_seed(self.seed)
        classes = len(self.plan.data.classes) + 1
        return BUILDERS[self.plan.student](spatial_dims=2, in_channels=self.channels, out_channels=classes)

    def tuned_teacher(self, labels: int) -> nn.Module:
        """Return the teacher that is tuned on `labels` labelled slices."""
        network = self._build_teacher(self.plan.rank)

        def tune() -> nn.Module:
            budget, kind = self.plan.budget, PromptFree if self.plan.prompted else Finetune
            recipe = self._recipe(kind, budget.teacher, budget.teacher_batch, budget.teacher_rate)
            patches = self._patches(
                self._labelled(labels), budget.teacher, budget.teacher_batch, spec=self.plan.teacher_image
            )
            return self._fit(recipe, network, patches)

        load_weights(network, self._cached_weights(f"teacher-{self.seed}-{labels}", tune))
        return network.eval()

    def score(self, network: nn.Module, *, teacher: bool = False) -> list[CaseScore]:
        """Return the Dice of every class on every test case.

        Args:
            network: Student or teacher.
            teacher: Whether `network` is the teacher, which may read other slices than the student.
        """
        spec = self.plan.teacher_image if teacher else self.plan.image
        predictor = Predictor(
            network.eval(),
            roi=spec.roi,
            slice_offsets=spec.slice_offsets,
            device=self.device,
            fixed=teacher and self.plan.prompted,
        )
        scores = []
        for case, reading in zip(self.pool.test_cases, self.pool.test_readings, strict=True):
            assert reading.label is not None, "test cases have labels"
            prediction = predictor.labels(reading.normalised()).numpy()
            dices = case_dice(prediction, reading.label.numpy(), self.plan.data.classes)
            scores.append({"case": case.id, "scores": dices})
        return scores

    def synthetic_cases(self) -> list[Case]:
        """Return the synthetic images of this seed's diffusion model.

        The diffusion model is trained on the pool's images with the labels that the teacher of the fewest labelled
        slices predicts. Therefore no arm learns from a label that does not belong to its own labelled slices.
        """
        folder = self.folder / f"synthetic-{self.seed}"
        with FileLock(self.folder / f"synthetic-{self.seed}.lock"):
            if not (folder / synthetic.REPORT).exists():
                shutil.rmtree(folder, ignore_errors=True)
                self._synthesise(folder)
        return find_cases(folder / synthetic.CASES)

    def _synthesise(self, folder: Path) -> None:
        plan, spec = self.plan, synthetic.contiguous_slices(self.plan.image)
        outputs = self._outputs(min(plan.labels), self.pool.cases)
        labels = [torch.from_numpy(logits.argmax(1).astype(np.uint8)).permute(1, 2, 0) for logits in outputs]
        shown = [replace(reading, label=label) for reading, label in zip(self.pool.readings, labels, strict=True)]
        torch.manual_seed(self.seed)
        network = Denoiser(slices=len(spec.slice_offsets), classes=len(plan.data.classes) + 1)
        recipe = self._recipe(Synthesise, plan.budget.diffusion, rate=1e-3)
        self._fit(recipe, network, self._patches(shown, plan.budget.diffusion, spec=spec, augment=recipe))
        owners = [case.patient for case in self.pool.cases]
        learned = case_maps(zip(owners, shown, strict=True), spec, per_case=PER_CASE)
        if len(set(learned.owners)) < 2:
            # A teacher that predicts almost nothing yet gives no maps; take the slices on which it was tuned.
            drawn, cases = self.pool.sample_labels(min(plan.labels), self.seed)
            learned = case_maps(zip([case.patient for case in cases], drawn, strict=True), spec, per_case=PER_CASE)
        test = zip([case.patient for case in self.pool.test_cases], self.pool.test_readings, strict=True)
        unseen = case_maps(test, spec, per_case=PER_CASE)
        rng = np.random.default_rng([self.seed, 23])
        chosen = rng.choice(len(learned.labels), plan.synthetic, replace=plan.synthetic > len(learned.labels))
        pairs = synthetic.generate(network, learned.labels[chosen], learned, unseen, seed=self.seed)
        synthetic.write_cases(pairs, spec, folder, learned)

    def _distil(self, labels: int, *, synthetic: bool) -> nn.Module:
        budget, teacher = self.plan.budget, self.tuned_teacher(labels)
        extra = self.synthetic_cases() if synthetic else []
        drawn, cases = self.pool.sample_labels(labels, self.seed)
        unlabelled = [*self.pool.unlabelled_readings(), *(read(case.image, self.plan.image) for case in extra)]
        soft = self._outputs(labels, [*self.pool.cases, *extra, *cases])
        patches = self._patches([*unlabelled, *drawn], budget.lesson, soft=soft)
        recipe = self._recipe(Distil, budget.lesson, encoder_weight=self.plan.encoder_weight, finetune_epochs=0)
        student = self.build_student()
        self._fit(recipe, recipe.attach_teacher(student, teacher, self.plan.image, self.plan.teacher_image), patches)
        return self._fit(self._recipe(Finetune, budget.finetune), student, self._patches(drawn, budget.finetune))

    def _pretrain(self, arm: str) -> nn.Module:
        steps, student = self.plan.budget.lesson, self.build_student()
        sizes: dict[str, Any] = {"spatial_dims": 2, "in_channels": self.channels}
        arms: dict[str, tuple[type[Recipe], Callable[[], nn.Module]]] = {
            "mae": (MAE, lambda: MaskedImages(student, **sizes)),
            "moco": (MoCo, lambda: MomentumPair(student, **sizes)),
            "agnostic": (Imitate, lambda: Imitation(student, self._build_teacher(0), **sizes)),
        }
        kind, wrap = arms[arm]
        self._fit(self._recipe(kind, steps), wrap(), self._patches(self.pool.unlabelled_readings(), steps, bare=True))
        return student

    def _outputs(self, labels: int, cases: Sequence[Case]) -> list[np.ndarray]:
        teacher = Teacher(self.tuned_teacher(labels), self.plan.teacher_image, f"{self.seed}-{labels}")
        return teacher.outputs(cases, Path(self._logits.name), self.device)

    def _build_teacher(self, rank: int) -> nn.Module:
        if self.plan.prompted:
            foundation = self.plan.foundation or None
            image = self.plan.image
            build = PROMPTED[self.plan.teacher]
            return build(image.roi[0], rank=rank, foundation=foundation, input_range=image.network_range)
        torch.manual_seed(self.seed)
        classes = len(self.plan.data.classes) + 1
        return BUILDERS[self.plan.teacher](spatial_dims=2, in_channels=self.channels, out_channels=classes)

    def _labelled(self, labels: int) -> list[Reading]:
        return self.pool.sample_labels(labels, self.seed)[0]

    def _recipe(self, kind: type[Recipe], steps: int, batch: int = 0, rate: float = 0.0, **options: Any) -> Recipe:
        budget = self.plan.budget
        batch = batch or budget.batch
        return kind(
            max_epochs=1,
            patches_per_epoch=steps * batch,
            batch_size=batch * (MOCO_BATCH_FACTOR if kind is MoCo else 1),
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
        mirroring = AugmentSpec().mirroring(self.plan.data.classes)
        return PatchDataset(
            readings,
            spec or self.plan.image,
            classes=len(self.plan.data.classes) + 1,
            patches_per_epoch=steps * (batch or self.plan.budget.batch),
            seed=self.seed,
            augment=(augment or Finetune()).augmentation(mirroring),
            teacher_logits=soft,
            allow_unlabelled=bare,
        )

    def _fit(self, recipe: Recipe, network: nn.Module, patches: PatchDataset) -> nn.Module:
        with TemporaryDirectory() as workdir:
            result = fit(
                recipe, network, patches, None, workdir=Path(workdir), device=self.device, progress=lambda _: None,
                track=False,
            )  # fmt: skip
        network.load_state_dict(result.state_dict)
        return network

    def _cached_weights(self, name: str, make: Callable[[], nn.Module]) -> Path:
        path = self.folder / f"{name}.safetensors"
        with FileLock(self.folder / f"{name}.lock"):
            if not path.exists():
                partial = path.with_name(f"partial-{name}.safetensors")
                save_weights(make(), partial)
                partial.replace(path)
        return path
