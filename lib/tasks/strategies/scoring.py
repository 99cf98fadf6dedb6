"""How well predictions agree with the labels people submitted: Dice per class."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.scoring import ScoringMethod

from lib.data.formats import load
from lib.evaluation.report import evaluate_case

logger = logging.getLogger(__name__)


class DicePerClass(ScoringMethod):
    """Score predicted labels against final ones.

    MONAI Label's own ``dice`` multiplies label values, which makes a perfect class 2 score 2.0.

    Args:
        labels: The value of each class, by name.
    """

    def __init__(self, labels: Mapping[str, int]) -> None:
        super().__init__("Dice per class of predicted against final labels")
        self.labels = dict(labels)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Score every study that has both labels, and keep the scores in its information.

        Args:
            request: ``y`` and ``y_pred`` name the tags, "final" and "original" unless given.
            datastore: The studies.
        Returns:
            By study: Dice by class and their ``mean``, None where neither label has the class; or ``{"error": ...}``.
        """
        tags = request.get("y_pred") or DefaultLabelTag.ORIGINAL, request.get("y") or DefaultLabelTag.FINAL
        result = {}
        for image in sorted(datastore.list_images()):
            labels = [(datastore.get_label_by_image_id(image, tag), tag) for tag in tags]
            if all(label for label, _ in labels):
                result[image] = self._score(*(datastore.get_label_uri(label, tag) for label, tag in labels))
                datastore.update_image_info(image, {"dice": result[image]})
                logger.info("Dice of %s: %s", image, result[image])
        return result

    def _score(self, prediction: str, reference: str) -> dict[str, Any]:
        try:
            ours, theirs = (np.asarray(load(path).voxels) for path in (prediction, reference))
            case = evaluate_case(ours, theirs, (1.0,) * theirs.ndim, self.labels, light=True)
        except ValueError as error:
            return {"error": str(error)}
        scores = {name: case["classes"][name]["dice"] for name in self.labels}
        return scores | {"mean": case["mean"]["dice"]}
