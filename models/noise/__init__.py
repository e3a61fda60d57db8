"""The noise types. A new one is one file here and one line in `NOISE`."""

from models.noise.base import Context, Noise, Rate
from models.noise.dropconnect import DropConnect
from models.noise.dropout import Dropout
from models.noise.gaussian import Gaussian
from models.noise.randomised_slope import RandomisedSlope
from models.noise.uniform import Uniform

NOISE: dict[str, type[Noise]] = {
    "none": Noise,
    "dropout": Dropout,
    "gaussian": Gaussian,
    "uniform": Uniform,
    "dropconnect": DropConnect,
    "randomised-slope": RandomisedSlope,
}

__all__ = ["NOISE", "Context", "Noise", "Rate"]
