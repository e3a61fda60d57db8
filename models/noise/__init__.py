"""The noise types. A new one is one file here and one line in `NOISE`."""

from models.noise.audited import KeptRelu, RandnDropConnect, RandnDropout
from models.noise.base import Context, Noise, Rate, per_layer
from models.noise.dropconnect import DropConnect
from models.noise.dropconnect_example import DropConnectExample
from models.noise.dropout import Dropout
from models.noise.gaussian import Gaussian
from models.noise.gaussian_weights import GaussianWeights
from models.noise.mirror import Mirror
from models.noise.one_sided import Gain, OneSided
from models.noise.randomised_slope import RandomisedSlope
from models.noise.shift import Shift
from models.noise.uniform import Uniform

NOISE: dict[str, type[Noise]] = {
    "none": Noise,
    "dropout": Dropout,
    "gaussian": Gaussian,
    "uniform": Uniform,
    "dropconnect": DropConnect,
    "gaussian-weights": GaussianWeights,
    "randomised-slope": RandomisedSlope,
    "shift": Shift,
    "mirror": Mirror,
    "one-sided": OneSided,
}

UNSEARCHED: dict[str, type[Noise]] = {
    "dropconnect-example": DropConnectExample,
    "gain": Gain,
    "audited-randn-dropout": RandnDropout,
    "audited-randn-dropconnect": RandnDropConnect,
    "audited-kept-relu": KeptRelu,
}
"""Types that some question names, and the search leaves alone: too slow for it, a control, or wrong on purpose."""


def noise_type(name: str) -> type[Noise]:
    """The noise type of a name.

    Raises:
        KeyError: no such type.
    """
    return NOISE[name] if name in NOISE else UNSEARCHED[name]


__all__ = ["NOISE", "UNSEARCHED", "Context", "Noise", "Rate", "noise_type", "per_layer"]
