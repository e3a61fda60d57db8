"""What a question may have measured on its networks. A new measure is one file here and one line in `MEASURES`."""

from models.measures.base import MARKS, Measure, Moment
from models.measures.horizons import horizons

MEASURES: dict[str, Measure] = {
    "horizons": horizons,
}

__all__ = ["MARKS", "MEASURES", "Measure", "Moment"]
