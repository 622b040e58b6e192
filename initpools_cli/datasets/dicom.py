"""Reading of DICOM images with pydicom (extra ``dicom``)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Suffixes, for files without the magic word.
SUFFIXES = (".dcm", ".dicom")


@dataclass(frozen=True)
class DicomImage:
    """The first frame of a DICOM file.

    Attributes
    ----------
    values : ndarray of shape (h, w) or (h, w, 3)
        Gray values after the rescale slope and intercept, or colors.
    inverted : bool
        The lowest value is white (MONOCHROME1).
    frames : int
    window : str
        The window of the file as text; empty without.
    windowed : ndarray of shape (h, w) or None
        The values through the window of the file, in [0, 1].
    """

    values: np.ndarray
    inverted: bool
    frames: int
    window: str
    windowed: np.ndarray | None


def is_dicom(name: str, head: bytes) -> bool:
    """Whether a file is DICOM, by the magic word at byte 128 or by its name."""
    return head[128:132] == b"DICM" or name.lower().endswith(SUFFIXES)


def read_header(content: Any) -> tuple[bool, int, bool]:
    """Read whether an image is gray, its number of pixels, and whether it has a window.

    Raises
    ------
    Exception
        Any exception of pydicom, if the file is not a DICOM image.
    """
    import pydicom

    dataset = pydicom.dcmread(content, stop_before_pixels=True, force=True)
    gray = str(dataset.PhotometricInterpretation).startswith("MONOCHROME")
    return gray, int(dataset.Rows) * int(dataset.Columns), _has_window(dataset)


def read_dicom(content: bytes) -> DicomImage:
    """Decode the first frame.

    Raises
    ------
    Exception
        Any exception of pydicom, if the file can't be decoded.
    """
    import pydicom
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    photometric = str(dataset.PhotometricInterpretation)
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    pixels = pixel_array(dataset, index=0)
    if photometric == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
        return DicomImage(_eight_bits(pixels, bits), False, frames, "", None)
    if not photometric.startswith("MONOCHROME"):
        return DicomImage(_eight_bits(pixels, int(dataset.BitsStored)), False, frames, "", None)
    values = _narrowed(apply_modality_lut(pixels, dataset), pixels.dtype)
    window, view = _window(dataset, values)
    return DicomImage(values, photometric == "MONOCHROME1", frames, window, view)


def _eight_bits(colors: np.ndarray, bits: int) -> np.ndarray:
    """Convert colors of any depth to uint8; their range is that of their type."""
    return colors if bits == 8 else np.rint(colors * (255 / (2**bits - 1))).clip(0, 255).astype(np.uint8)


def _narrowed(values: np.ndarray, stored_dtype: np.dtype) -> np.ndarray:
    """Convert rescaled values to the stored type or int32 if they are integers, else to float32."""
    if (values == np.floor(values)).all():
        for dtype in (stored_dtype, np.dtype(np.int32)):
            limits = np.iinfo(dtype)
            if limits.min <= values.min() and values.max() <= limits.max:
                return values.astype(dtype)
    return values.astype(np.float32)


def _has_window(dataset: Any) -> bool:
    return (_first(dataset.get("WindowWidth")) or 0) > 0 or bool(dataset.get("VOILUTSequence"))


def _window(dataset: Any, values: np.ndarray) -> tuple[str, np.ndarray | None]:
    """Return the first window of the file (DICOM PS3.3, C.11.2.1.2) as text, and the values after applying it."""
    from pydicom.pixels import apply_voi

    if dataset.get("VOILUTSequence") and not dataset.get("WindowWidth"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return "lookup table", apply_voi(values.astype(np.int64), dataset) / (2**bits - 1)
    center, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 0:
        return "", None
    wide = values.astype(np.float64)
    how = str(dataset.get("VOILUTFunction") or "LINEAR")
    if how == "SIGMOID":
        view = 1 / (1 + np.exp(-4 * (wide - center) / width))
    elif how == "LINEAR_EXACT" or width <= 1:
        view = (wide - center) / width + 0.5
    else:
        view = (wide - (center - 0.5)) / (width - 1) + 0.5
    return f"center {center:g}, width {width:g}", np.clip(view, 0, 1)


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except TypeError:
        return float(value[0]) if len(value) else None
