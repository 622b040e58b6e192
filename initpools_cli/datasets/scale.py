"""Conversion of pixels of any depth to 0–255, with one range of values for a whole data set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.config import scale_range
from initpools_cli.core.errors import UserError

#: The values that become 0 and 255.
Range = tuple[float, float]

#: Conversions in ``items.csv``: of an image with transparent pixels, and of a DICOM file with its own window.
WHITE, WINDOW = "white", "window"
#: Number of images that a range is estimated from, and of pixels per image.
SAMPLE_IMAGES, SAMPLE_PIXELS = 256, 16_384
#: The percentiles of the sample that become 0 and 255.
PERCENTILES = (0.1, 99.9)
#: Integers use the full range of their type if the percentiles span more than this share of it.
FULL_RANGE_SPAN = 0.5
#: Floats in [0, 1] are not rescaled if the percentiles span at least this share: 32 of 256 gray levels.
UNIT_SPAN = 1 / 8


@dataclass(frozen=True)
class Scale:
    """Ranges of values that become 0 to 255, for images of more than 8 bits.

    Attributes
    ----------
    setting : str
        ``dataset.scale``: "auto", "full" or "lo,hi".
    ranges : mapping of str to Range
        For "auto": the range by kind of value, "integer" or "float".
    reasons : mapping of str to str
        How each range was chosen, by kind of value.
    """

    setting: str = "auto"
    ranges: Mapping[str, Range] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def limits(self, dtype: np.dtype) -> Range:
        """Return the values that become 0 and 255 in an image of this type.

        Raises
        ------
        KeyError
            No range is known.
        """
        if self.setting == "full":
            return full_range(dtype)
        if self.setting != "auto":
            return scale_range(self.setting)
        kind = kind_of(dtype)
        return self.ranges[kind if kind in self.ranges else next(iter(self.ranges), kind)]

    def misses(self, kinds: Iterable[str]) -> list[str]:
        """Return the kinds of values whose range is not known yet."""
        return [kind for kind in kinds if self.setting == "auto" and kind not in self.ranges]

    def fitted(self, samples: Sequence[np.ndarray]) -> Scale:
        """Return the scale with a range for each kind of value in the samples.

        Floats in [0, 1] have a range of their own; all other values share one.

        Parameters
        ----------
        samples : sequence of ndarray
            Sampled values of each image, in its type.

        Raises
        ------
        UserError
            No sampled value is finite.
        """
        ranges, reasons = dict(self.ranges), dict(self.reasons)
        floats = [values for values in samples if kind_of(values.dtype) == "float"]
        if floats and "float" not in ranges and _in_unit(np.concatenate(floats).astype(np.float64)):
            ranges["float"], reasons["float"] = (0.0, 1.0), "their full range"
        others = [values for values in samples if kind_of(values.dtype) not in ranges]
        if others:
            dtypes = {values.dtype for values in others}
            common = next((limits for limits in ranges.values() if limits != (0.0, 1.0)), None)
            range_and_reason = (common, "the range of the others") if common else _range_of(others, dtypes)
            for kind in {kind_of(dtype) for dtype in dtypes}:
                ranges[kind], reasons[kind] = range_and_reason
        return Scale(self.setting, ranges, reasons)


def scale_of(setting: str, conversions: Iterable[str]) -> Scale:
    """Return the scale that stored images were converted with, from the conversions in ``items.csv``."""
    ranges: dict[str, Range] = {}
    if setting == "auto":
        for conversion in dict.fromkeys(conversions):
            dtype, _, limits = conversion.partition(";")[0].partition(" ")
            if dtype not in ("", WHITE, WINDOW):
                ranges[kind_of(np.dtype(dtype))] = scale_range(limits)
    return Scale(setting, ranges, dict.fromkeys(ranges, "as for the images before"))


@dataclass
class ConversionCounts:
    """Counts of the conversion of images to 8 bits.

    Attributes
    ----------
    images, pixels : int
        Numbers of images and pixels with more than 8 bits.
    clipped_values, clipped_images : int
        Numbers of values outside the range, and of images with such values.
    invalid : int
        Number of images with NaN or infinite values.
    """

    images: int = 0
    pixels: int = 0
    clipped_values: int = 0
    clipped_images: int = 0
    invalid: int = 0

    def add(self, values: np.ndarray, limits: Range) -> np.ndarray:
        """Convert one image to uint8 and count it; NaN and -inf become the lowest value, inf the highest."""
        # Single precision holds every integer of 16 bits.
        wide: NDArray[np.floating] = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
        invalid = values.dtype.kind == "f" and not np.isfinite(wide).all()
        low, high = limits
        if invalid:
            wide = np.nan_to_num(wide, nan=low, posinf=high, neginf=low)
        outliers = int(np.count_nonzero((wide < low) | (wide > high)))
        self.images += 1
        self.pixels += wide.size
        self.clipped_values += outliers
        self.clipped_images += outliers > 0
        self.invalid += invalid
        # Clipped first, so that nothing overflows.
        wide = np.clip(wide, low, high)
        wide -= low
        wide *= 255 / (high - low)
        return np.rint(wide).astype(np.uint8)

    def merge(self, other: ConversionCounts) -> None:
        """Add the counts of another tally."""
        for name in ("images", "pixels", "clipped_values", "clipped_images", "invalid"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def notes(self, scale: Scale, dtypes: Iterable[np.dtype]) -> list[str]:
        """Return notes for the user."""
        if not self.images:
            return []
        names = sorted({dtype.name for dtype in dtypes})
        ranges = dict.fromkeys(f"{text_of(scale.limits(np.dtype(name)))}" for name in names)
        why = dict.fromkeys(scale.reasons.get(kind_of(np.dtype(name)), "") for name in names)
        reason = " and ".join(text for text in why if text)
        notes = [
            f"{_are(self.images, 'image')} not stored as 8 bits ({', '.join(names)}): values {' and '.join(ranges)} "
            f"become 0 to 255 (dataset.scale = {scale.setting}{f': {reason}' if reason else ''})"
        ]
        if self.clipped_values:
            share = 100 * self.clipped_values / self.pixels
            notes.append(
                f"{share:.2g} % of their values ({self.clipped_values} in {_count(self.clipped_images, 'image')}) are "
                "outside this range and clipped"
            )
        if self.invalid:
            notes.append(
                f"{_count(self.invalid, 'image')} with NaN or infinite values: NaN and -inf become the lowest value, "
                "inf the highest"
            )
        return notes


def kind_of(dtype: np.dtype) -> str:
    """Return the kind of value of a type, "integer" or "float"; values of one kind share a range."""
    return "float" if dtype.kind == "f" else "integer"


def full_range(dtype: np.dtype) -> Range:
    """Return the smallest and the largest value of a type; 0 and 1 for floats."""
    if dtype.kind in "fb":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def conversion_of(dtype: np.dtype, limits: Range) -> str:
    """Return the conversion for ``items.csv``: the type, and the values that become 0 and 255."""
    return f"{dtype.name} {text_of(limits)}"


def text_of(limits: Range) -> str:
    """Format a range as ``low,high``, the form of ``dataset.scale``."""
    return ",".join(str(int(end)) if float(end).is_integer() else repr(float(end)) for end in limits)


def sample_of(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw at most `SAMPLE_PIXELS` random values of an image."""
    flat = values.reshape(-1)
    return flat if len(flat) <= SAMPLE_PIXELS else flat[rng.integers(0, len(flat), SAMPLE_PIXELS)]


def _in_unit(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() < 0 or finite.max() > 1:
        return False
    low, high = np.percentile(finite, PERCENTILES)
    return bool(high - low >= UNIT_SPAN)


def _range_of(samples: Sequence[np.ndarray], dtypes: set[np.dtype]) -> tuple[Range, str]:
    """Return one range for all samples, and how it was chosen."""
    values = np.concatenate([sample.astype(np.float64) for sample in samples])
    values = values[np.isfinite(values)]
    if not len(values):
        raise UserError(
            "No sampled pixel is a finite number.",
            "Check the images, or set the range with --set dataset.scale=lo,hi.",
            "pixel",
        )
    low, high = (float(end) for end in np.percentile(values, PERCENTILES, method="nearest"))
    least, most = float(values.min()), float(values.max())
    if len(dtypes) == 1 and (dtype := next(iter(dtypes))).kind in "iub":
        full = full_range(dtype)
        if high - low > FULL_RANGE_SPAN * (full[1] - full[0]):
            return full, "their full range"
    if least >= 0 and 127 < most <= 255 and bool((values == np.floor(values)).all()):
        return (0.0, 255.0), "whole numbers up to 255"
    if high > low:
        return _rounded(low, high), "0.1 and 99.9 percentiles"
    if most > least:
        return _rounded(least, most), "lowest and highest value"
    return (least, least + 1), "all sampled pixels are equal"


def _rounded(low: float, high: float) -> Range:
    """Round a range to about a millionth of its width; an estimate has no more significant digits."""
    digits = 5 - math.floor(math.log10(high - low))
    return round(low, digits) if digits > 0 else low, round(high, digits) if digits > 0 else high


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _are(n: int, noun: str) -> str:
    return f"{_count(n, noun)} {'is' if n == 1 else 'are'}"
