"""What a question may have measured on its networks. A new measure is one file here and one line in `MEASURES`."""

from models.measures.base import MARKS, Measure, Moment
from models.measures.horizons import horizons
from models.measures.moment_matched import moment_matched
from models.measures.raw_pixels import raw_pixels
from models.measures.test_time import test_time
from models.measures.variance import variance

MEASURES: dict[str, Measure] = {
    "horizons": horizons,
    "variance": variance,
    "test-time": test_time,
    "moment-matched": moment_matched,
    "raw-pixels": raw_pixels,
}

__all__ = ["MARKS", "MEASURES", "Measure", "Moment"]
