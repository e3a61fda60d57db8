"""The declared questions. A new one is one file here and one of the same name in analysis/questions."""

from study.designs import additivity, audit, beat_dropout, dropconnect, epochs, swap, test_time, variance
from study.designs.base import Design

DESIGNS: dict[str, Design] = {
    design.name: design
    for design in (
        swap.DESIGN,
        epochs.DESIGN,
        variance.DESIGN,
        test_time.DESIGN,
        additivity.DESIGN,
        dropconnect.DESIGN,
        beat_dropout.DESIGN,
        audit.DESIGN,
    )
}

__all__ = ["DESIGNS", "Design"]
