"""What the audited solutions measure: images that were never divided by 255."""

from __future__ import annotations

from torch import Tensor

from models.metrics import evaluate
from models.probes.base import Moment


def raw_pixels(moment: Moment) -> dict[str, Tensor]:
    """Validation scores on pixels from 0 to 255, after training on 0 to 1: `val/accuracy_raw`."""
    if not moment.last:
        return {}
    images = moment.split.validation_x * 255
    scores = evaluate(
        moment.population, moment.noise, moment.seeds, images, moment.split.validation_y
    )
    return {f"val/{name}_raw": values for name, values in scores.items()}
