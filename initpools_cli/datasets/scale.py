"""Pixels of any depth as values from 0 to 255: one range of values for a whole data set, never one an image."""

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

#: What ``items.csv`` says of an image with transparent pixels, and of a DICOM file shown through its own window.
WHITE, WINDOW = "white", "window"
#: Images that a range is estimated from, and pixels of each.
SAMPLE_IMAGES, SAMPLE_PIXELS = 256, 16_384
#: The percentiles of the sample that become 0 and 255.
PERCENTILES = (0.1, 99.9)
#: Integers fill their type where the percentiles span more than this share of it.
FILLED = 0.5
#: Floats in [0, 1] are taken as they are where the percentiles span at least this share: 32 of 256 gray levels.
UNIT_SPAN = 1 / 8


@dataclass(frozen=True)
class Scale:
    """How values of more than 8 bits become 0 to 255.

    Attributes
    ----------
    setting : str
        ``dataset.scale``: "auto", "full" or "lo,hi".
    ranges : mapping of str to Range
        For "auto", by kind of value: "integer" and "float".
    reasons : mapping of str to str
        Where a range was chosen now, what was found, by kind of value.
    """

    setting: str = "auto"
    ranges: Mapping[str, Range] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def limits(self, dtype: np.dtype) -> Range:
        """The values that become 0 and 255 in an image of this type.

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
        """Of these kinds of values, those that need a range that is not known yet."""
        return [kind for kind in kinds if self.setting == "auto" and kind not in self.ranges]

    def fitted(self, samples: Sequence[np.ndarray]) -> Scale:
        """The same with a range for each kind of value in the samples.

        Floats that lie in [0, 1] have a range of their own; all other values share one.

        Parameters
        ----------
        samples : sequence of ndarray
            Some values of each sampled image, in the type of the image.

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
            common = next((known for known in ranges.values() if known != (0.0, 1.0)), None)
            found = (common, "the range of the others") if common else _range_of(others, dtypes)
            for kind in {kind_of(dtype) for dtype in dtypes}:
                ranges[kind], reasons[kind] = found
        return Scale(self.setting, ranges, reasons)


def scale_of(setting: str, conversions: Iterable[str]) -> Scale:
    """The scale that images were converted with, from what ``items.csv`` says of each."""
    ranges: dict[str, Range] = {}
    if setting == "auto":
        for conversion in dict.fromkeys(conversions):
            dtype, _, limits = conversion.partition(";")[0].partition(" ")
            if dtype not in ("", WHITE, WINDOW):
                ranges[kind_of(np.dtype(dtype))] = scale_range(limits)
    return Scale(setting, ranges, dict.fromkeys(ranges, "as for the images before"))


@dataclass
class Tally:
    """What the conversion of some images met.

    Attributes
    ----------
    images, pixels : int
        Of more than 8 bits.
    clipped, touched : int
        Values outside the range, and the images that have some.
    invalid : int
        Images with values that are NaN or infinite.
    """

    images: int = 0
    pixels: int = 0
    clipped: int = 0
    touched: int = 0
    invalid: int = 0

    def add(self, values: np.ndarray, limits: Range) -> np.ndarray:
        """Count one image and return it as uint8; NaN and -inf become the low end, inf the high one."""
        # Single precision holds every integer of 16 bits.
        wide: NDArray[np.floating] = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
        invalid = values.dtype.kind == "f" and not np.isfinite(wide).all()
        low, high = limits
        if invalid:
            wide = np.nan_to_num(wide, nan=low, posinf=high, neginf=low)
        clipped = int(np.count_nonzero((wide < low) | (wide > high)))
        self.images += 1
        self.pixels += wide.size
        self.clipped += clipped
        self.touched += clipped > 0
        self.invalid += invalid
        # Clipped first, so that nothing overflows.
        wide = np.clip(wide, low, high)
        wide -= low
        wide *= 255 / (high - low)
        return np.rint(wide).astype(np.uint8)

    def merge(self, other: Tally) -> None:
        """Add what another counted."""
        for name in ("images", "pixels", "clipped", "touched", "invalid"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def notes(self, scale: Scale, dtypes: Iterable[np.dtype]) -> list[str]:
        """What to tell of them."""
        if not self.images:
            return []
        named = sorted({dtype.name for dtype in dtypes})
        ranges = dict.fromkeys(f"{text_of(scale.limits(np.dtype(name)))}" for name in named)
        why = dict.fromkeys(scale.reasons.get(kind_of(np.dtype(name)), "") for name in named)
        reason = " and ".join(text for text in why if text)
        said = [
            f"{_are(self.images, 'image')} not stored as 8 bits ({', '.join(named)}): values {' and '.join(ranges)} "
            f"become 0 to 255 (dataset.scale = {scale.setting}{f': {reason}' if reason else ''})"
        ]
        if self.clipped:
            share = 100 * self.clipped / self.pixels
            said.append(
                f"{share:.2g} % of their values ({self.clipped} in {_count(self.touched, 'image')}) lie outside and "
                "are clipped"
            )
        if self.invalid:
            said.append(
                f"{_count(self.invalid, 'image')} with values that are NaN or infinite: NaN and -inf are shown as the "
                "lowest value, inf as the highest"
            )
        return said


def kind_of(dtype: np.dtype) -> str:
    """What values of a type share a range with: "integer" or "float"."""
    return "float" if dtype.kind == "f" else "integer"


def full_range(dtype: np.dtype) -> Range:
    """All that a type can hold; of floats, 0 to 1."""
    if dtype.kind in "fb":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def conversion_of(dtype: np.dtype, limits: Range) -> str:
    """What ``items.csv`` says of an image: the type of its values, and what of them becomes 0 and 255."""
    return f"{dtype.name} {text_of(limits)}"


def text_of(limits: Range) -> str:
    """``low,high``, as ``dataset.scale`` takes it."""
    return ",".join(str(int(end)) if float(end).is_integer() else repr(float(end)) for end in limits)


def sample_of(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """At most `SAMPLE_PIXELS` values of an image, drawn at random."""
    flat = values.reshape(-1)
    return flat if len(flat) <= SAMPLE_PIXELS else flat[rng.integers(0, len(flat), SAMPLE_PIXELS)]


def _in_unit(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() < 0 or finite.max() > 1:
        return False
    low, high = np.percentile(finite, PERCENTILES)
    return bool(high - low >= UNIT_SPAN)


def _range_of(samples: Sequence[np.ndarray], dtypes: set[np.dtype]) -> tuple[Range, str]:
    """One range for all of the samples, and what it was chosen by."""
    values = np.concatenate([sample.astype(np.float64) for sample in samples])
    values = values[np.isfinite(values)]
    if not len(values):
        raise UserError(
            "No sampled pixel is a finite number.", "Check the images, or give the range: --set dataset.scale=lo,hi."
        )
    low, high = (float(end) for end in np.percentile(values, PERCENTILES, method="nearest"))
    least, most = float(values.min()), float(values.max())
    if len(dtypes) == 1 and (dtype := next(iter(dtypes))).kind in "iub":
        full = full_range(dtype)
        if high - low > FILLED * (full[1] - full[0]):
            return full, "their full range"
    if least >= 0 and 127 < most <= 255 and bool((values == np.floor(values)).all()):
        return (0.0, 255.0), "whole numbers up to 255"
    if high > low:
        return _rounded(low, high), "0.1 and 99.9 percentiles"
    if most > least:
        return _rounded(least, most), "lowest and highest value"
    return (least, least + 1), "all sampled pixels are equal"


def _rounded(low: float, high: float) -> Range:
    """To about a millionth of the range: more digits mean nothing in an estimate."""
    digits = 5 - math.floor(math.log10(high - low))
    return round(low, digits) if digits > 0 else low, round(high, digits) if digits > 0 else high


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _are(n: int, noun: str) -> str:
    return f"{_count(n, noun)} {'is' if n == 1 else 'are'}"
