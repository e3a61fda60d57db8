"""What a question may have measured. A new measure is one file here and one line below."""

from models.probes.base import MARKS, Measure, Moment
from models.probes.learning_curve import horizons
from models.probes.mc_dropout import test_time
from models.probes.moment_matched import moment_matched
from models.probes.raw_pixels import raw_pixels
from models.probes.variance import variance

MEASURES: dict[str, Measure] = {
    "horizons": horizons,
    "variance": variance,
    "test-time": test_time,
    "moment-matched": moment_matched,
    "raw-pixels": raw_pixels,
}

__all__ = ["MARKS", "MEASURES", "Measure", "Moment"]
