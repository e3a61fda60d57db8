"""The winner as it is served: a copy of this file travels with the model, and no other.

It needs NumPy and MLflow. MLflow runs it when it loads the model ("models from code"), so nothing
is unpickled.
"""

from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel

SIDE, PIXELS = 28, 784
CHUNK = 1000
"""Images at a time: bounds memory."""
MOST_SAMPLES = 1000
NAME = "images"
EXPECTED = (
    f"expected raw images of shape (n, {SIDE}, {SIDE}), whole numbers from 0 to 255, "
    f"or flat ones of shape (n, {PIXELS}), numbers from 0 to 1"
)
EXAMPLE = f'for example {{"inputs": {{"{NAME}": [[0.0, 0.5, ...]]}}}} with {PIXELS} numbers'


def refused(message: str) -> MlflowException:
    """An error that a server answers with status 400 and this message."""
    return MlflowException.invalid_parameter_value(message)


def wrong_images(reason: str) -> MlflowException:
    """The error for images of neither form."""
    return refused(f"{EXPECTED}; {reason}; {EXAMPLE}")


def unpack(model_input: Any) -> Any:
    """Return the images of a request: an array, one named "images", or a frame of pixels.

    A frame has a column of images, or a column for each pixel of flat ones.

    Raises:
        MlflowException: it names its input otherwise.
    """
    is_frame = hasattr(model_input, "columns")
    names = list(model_input) if is_frame or isinstance(model_input, dict) else [NAME]
    if NAME not in names and not (is_frame and len(names) == PIXELS):
        shown = ", ".join(map(str, names[:3])) or "nothing"
        raise wrong_images(f"the one input is called {NAME}; got {shown}")
    if is_frame:
        return list(model_input[NAME]) if NAME in names else model_input.to_numpy()
    return model_input[NAME] if isinstance(model_input, dict) else model_input


def to_pixels(values: Any) -> np.ndarray:
    """Images as the network sees them, (n, 784) float32 from 0 to 1; their shape says the form.

    Raises:
        MlflowException: neither form.
    """
    try:
        x = np.asarray(values)
        if x.dtype == object:  # as a request brings them: the numbers' own types are found again
            x = np.array(x.tolist())
    except ValueError:
        raise wrong_images("the images differ in size") from None
    if not len(x.shape) or not len(x):
        raise wrong_images("got none")
    if x.shape[1:] not in {(SIDE, SIDE), (PIXELS,)}:
        raise wrong_images(f"got shape {x.shape}")
    raw = x.ndim == 3
    if x.dtype.kind not in ("iu" if raw else "iuf"):
        raise wrong_images(f"got shape {x.shape} of {x.dtype}")
    if not np.all((x >= 0) & (x <= (255 if raw else 1))):
        raise wrong_images(f"got shape {x.shape} with values outside of that")
    x = x.reshape(len(x), PIXELS).astype(np.float32)
    return x / np.float32(255) if raw else x


def multiplier(
    random: np.random.Generator, distribution: str, p: float, shape: tuple[int, ...]
) -> np.ndarray:
    """Draw float32 numbers of mean 1 and variance v = p/(1-p): dropout's mask, or a smooth one."""
    v = p / (1 - p)
    if distribution == "bernoulli":
        return (random.random(shape, np.float32) >= p) / np.float32(1 - p)
    if distribution == "uniform":
        even = 2 * random.random(shape, np.float32) - 1
        return np.float32(1) + np.float32(np.sqrt(3 * v)) * even
    normal = random.standard_normal(shape, np.float32)
    if distribution == "normal":
        return np.float32(1) + np.float32(np.sqrt(v)) * normal
    s = np.float32(np.sqrt(np.log1p(v)))  # lognormal
    return np.exp(s * normal - s * s / 2)


class Network:
    """The 784-256-256-10 network, of `models.export.to_numbers`, and what is known of its noise."""

    def __init__(self, numbers: dict[str, np.ndarray], site: str, distribution: str | None) -> None:
        """`distribution` as of `models.export.repeatable`."""
        self.numbers, self.site, self.distribution = numbers, site, distribution

    def probabilities(self, x: np.ndarray, random: np.random.Generator | None = None) -> np.ndarray:
        """Class probabilities, (n, 10), of images (n, 784); `random` draws the training's noise.

        Noise on weights is drawn once a call, that on activations for each image.
        """
        number, h = self.numbers, x
        noise = None if self.distribution == "none" else random
        for layer in range(2):
            weight = number[f"weight{layer}"]
            if noise and self.site == "weight":
                weight = weight * self._draw(noise, layer, weight.shape)
            z = h @ weight + number[f"bias{layer}"]
            h = np.maximum(z, 0)
            if noise and self.site == "activation":
                h = h * self._draw(noise, layer, h.shape)
            elif not noise:
                h = h * number["factor"][layer]
                if np.isfinite(number["offset"][layer]):
                    h = h / (1 + np.exp(-(number["slope"][layer] * z + number["offset"][layer])))
        logits = h @ number["weight2"] + number["bias2"]
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    def sampled(
        self, x: np.ndarray, samples: int, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation (n - 1) over noisy passes, each (n, 10).

        Source: Gal & Ghahramani 2016, Dropout as a Bayesian Approximation; the running sums are
        Welford's.
        """
        mean, squares = np.zeros((len(x), 10)), np.zeros((len(x), 10))
        for count in range(1, samples + 1):
            p = self.probabilities(x, random)
            step = p - mean
            mean += step / count
            squares += step * (p - mean)
        return mean.astype(np.float32), np.sqrt(squares / (samples - 1)).astype(np.float32)

    def _draw(self, random: np.random.Generator, layer: int, shape: tuple[int, ...]) -> np.ndarray:
        return multiplier(random, str(self.distribution), float(self.numbers["rate"][layer]), shape)


class Champion(PythonModel):
    """Class probabilities of images, and on demand their spread under the noise of training."""

    def load_context(self, context: Any) -> None:
        """Read the numbers beside this file, and what the configuration says of the noise."""
        with np.load(context.artifacts["network"], allow_pickle=False) as file:
            numbers = dict(file)
        config = context.model_config
        self.noise = config["noise"]
        self.network = Network(numbers, config["site"], config["distribution"])

    def predict(
        self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> dict:
        """Return `probabilities`, (n, 10); with `mc_samples` `mc_mean` and `mc_standard_deviation`.

        The input may be whatever `unpack` takes; MLflow warns of a hint that says so.

        Raises:
            MlflowException: images of neither form, or samples that cannot be had.
        """
        x, params = to_pixels(unpack(model_input)), params or {}
        samples, seed = params.get("mc_samples", 0), params.get("mc_seed", 0)
        if samples and not 2 <= samples <= MOST_SAMPLES:
            raise refused(
                f"mc_samples is 0 for none, or a number from 2 to {MOST_SAMPLES}, not {samples}"
            )
        if seed < 0:
            raise refused(f"mc_seed is 0 or more, not {seed}")
        if samples and self.network.distribution is None:
            raise refused(
                f"mc_samples repeats the noise that the network was trained with; {self.noise} is "
                "not of a form that can be drawn here: ask without mc_samples"
            )
        parts = [x[start : start + CHUNK] for start in range(0, len(x), CHUNK)]
        plain = [self.network.probabilities(part) for part in parts]
        found = {"probabilities": np.concatenate(plain)}
        if samples:
            random = np.random.default_rng(seed)
            both = [self.network.sampled(part, samples, random) for part in parts]
            means, deviations = map(np.concatenate, zip(*both, strict=True))
            found |= {"mc_mean": means, "mc_standard_deviation": deviations}
        return found


mlflow.models.set_model(Champion())
