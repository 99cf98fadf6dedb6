"""Agreement of predicted labels with final labels: Dice per class."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.scoring import ScoringMethod

from lib.data.formats import load
from lib.data.labels.coverage import parse_covered, read_covered
from lib.evaluation.report import evaluate_case

logger = logging.getLogger(__name__)


class DicePerClass(ScoringMethod):
    """Score predicted labels against final labels.

    MONAI Label's own ``dice`` multiplies label values, so that a perfect class 2 scores 2.0.

    Args:
        labels: Label value by class name.
    """

    def __init__(self, labels: Mapping[str, int]) -> None:
        super().__init__("Dice per class of predicted against final labels")
        self.labels = dict(labels)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Score every study that has both labels, and store the scores in the study's information.

        Args:
            request: ``y`` and ``y_pred`` are label tags; default "final" and "original".
            datastore: The studies.
        Returns:
            By study: Dice by class and their ``mean``, None if neither label has the class or the final label does not
            cover it; or ``{"error": ...}``.
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
            predicted, final = (np.asarray(load(path).voxels) for path in (prediction, reference))
            covered = parse_covered(read_covered(Path(reference)), self.labels)
            case = evaluate_case(predicted, final, (1.0,) * final.ndim, self.labels, covered=covered, light=True)
        except ValueError as error:
            return {"error": str(error)}
        scores = {name: case["classes"].get(name, {}).get("dice") for name in self.labels}
        return scores | {"mean": case["mean"]["dice"]}
