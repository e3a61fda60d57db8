"""How good the networks would be, had training stopped here."""

from __future__ import annotations

from torch import Tensor

from models.metrics import evaluate
from models.probes.base import MARKS, Moment


def horizons(moment: Moment) -> dict[str, Tensor]:
    """Test loss and accuracy at each marked epoch: `test/accuracy_at_20`.

    Only with a constant learning rate is that the training of so many epochs; a decayed one would
    have ended there.
    """
    if moment.epoch not in MARKS:
        return {}
    scores = evaluate(
        moment.population, moment.noise, moment.seeds, moment.split.test_x, moment.split.test_y
    )
    return {f"test/{name}_at_{moment.epoch}": values for name, values in scores.items()}
