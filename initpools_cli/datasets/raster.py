"""Decoding of image files to their stored pixel values."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.datasets.dicom import is_dicom, read_dicom, read_header
from initpools_cli.datasets.stored.shards import OriginalFile

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

#: Brands of HEIF files (ISO/IEC 23008-12, annex B); Pillow itself reads AVIF.
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
#: Formats whose further images are previews or layers of the first.
SINGLE_IMAGE_FORMATS = ("MPO", "PSD", "ICO", "ICNS")
#: MIME types of formats that browsers display with the same pixels as read here.
MIME_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
}
#: TIFF tags (the last is GDAL's for pixels without data), and the sample format of signed integers.
BITS, PHOTOMETRIC, SAMPLE_FORMAT, NO_DATA, SIGNED = 258, 262, 339, 42113, 2
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")


@dataclass(frozen=True)
class Header:
    """Header of an image file.

    Attributes
    ----------
    gray : bool
    deep : str
        "integer" or "float" if values have more than 8 bits, so that a range is needed to convert them; else empty.
    exact : bool
        Whether all versions read the same pixels: neither deep nor possibly transparent.
    mime_type : str
        MIME type; empty if a browser would not display the same pixels.
    """

    gray: bool
    deep: str = ""
    exact: bool = False
    mime_type: str = ""


@dataclass(frozen=True)
class Reason:
    """Why a file is skipped, in singular and plural, and the remedy."""

    one: str
    many: str
    remedy: str = ""


@dataclass(frozen=True)
class Raster:
    """The first image of a file.

    Attributes
    ----------
    picture : Image or None
        Pixels of at most 8 bits.
    values : ndarray of shape (h, w) or (h, w, c), or None
        Values of more than 8 bits, c in {2, 3, 4}: the last of 2 and of 4 is opacity.
    orientation : int
        EXIF orientation; 1 is upright.
    inverted : bool
        Whether the lowest value is white.
    pages : bool
        Whether the file has more images.
    window : str
        Window of a DICOM file; `windowed` has the values after applying it, in [0, 1].
    """

    picture: Image | None = None
    values: np.ndarray | None = None
    orientation: int = 1
    inverted: bool = False
    pages: bool = False
    window: str = ""
    windowed: np.ndarray | None = None


def _needs(kind: str, extra: str) -> Reason:
    return Reason(
        f"a {kind} file, which needs an extra,", f"{kind} files, which need an extra,", f'pip install ".[{extra}]"'
    )


NO_IMAGE = Reason("not a readable image", "not readable images")
_SHUT = "not readable for lack of permission"
NO_PERMISSION = Reason(_SHUT, _SHUT, "Change their permissions")
TOO_LARGE = Reason("an image of more than 178 million pixels", "images of more than 178 million pixels", "Shrink them")
DEEP_COLOR = Reason("an image of 16-bit colors", "images of 16-bit colors", "Save them as PNG or TIFF")
NEEDS_HEIF = _needs("HEIC", "heif")
NEEDS_DICOM = _needs("DICOM", "dicom")
NEEDS_TIFF = _needs("16-bit color TIFF", "tiff")


def header_of(file: OriginalFile) -> Header | Reason:
    """Read the header of an image file; return the reason if it can't be read."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with file.open("rb") as stream:
                head = stream.read(132)
                stream.seek(0)
                if reason := _missing_extra(file.name, head):
                    return reason
                if is_dicom(file.name, head):
                    gray, pixels, windowed = read_header(stream)
                    if Image.MAX_IMAGE_PIXELS and pixels > 2 * Image.MAX_IMAGE_PIXELS:
                        return TOO_LARGE
                    return Header(gray, deep="integer" if gray and not windowed else "")
                with Image.open(stream) as image:
                    return _header(image)
        except Image.DecompressionBombError:
            return TOO_LARGE
        except PermissionError:
            return NO_PERMISSION
        # Decoders can raise almost any exception for damaged files.
        except Exception:
            return NO_IMAGE


def read_raster(name: str, content: bytes, draft: int = 0) -> Raster:
    """Decode the first image of a file.

    Parameters
    ----------
    name : str
        The file name.
    content : bytes
        The content of the file.
    draft : int
        A sufficient side, pixels: JPEG can be decoded at 1/2, 1/4 or 1/8 of its size. 0: full size.

    Raises
    ------
    Exception
        Any exception of the decoders.
    """
    from PIL import Image

    if is_dicom(name, content[:132]):
        return _from_dicom(content)
    _missing_extra(name, content[:132])
    with Image.open(io.BytesIO(content)) as image:
        pages = _has_pages(image)
        if _deep_color(image):
            values = DEEP_DECODERS[image.format or ""](image, content)
            return Raster(values=values, orientation=_orientation(image), pages=pages)
        if draft:
            # Twice the target is enough for the resampling filter.
            image.draft(None, (2 * draft, 2 * draft))
        image.load()
        # Read after loading: Pillow turns TIFF files upright when it loads them.
        orientation = _orientation(image)
        if _deep_gray(image):
            inverted = _tag(image, PHOTOMETRIC) == 0
            return Raster(values=_gray_values(image), orientation=orientation, inverted=inverted, pages=pages)
        return Raster(picture=image, orientation=orientation, pages=pages)


def _missing_extra(name: str, head: bytes) -> Reason | None:
    """Return the reason if a file needs an extra that is not installed; register the HEIF decoder if needed."""
    if head[4:8] == b"ftyp" and head[8:12] in HEIF:
        if not _installed("pillow_heif"):
            return NEEDS_HEIF
        import pillow_heif

        pillow_heif.register_heif_opener()
    return NEEDS_DICOM if is_dicom(name, head) and not _installed("pydicom") else None


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _header(image: ImageFile) -> Header | Reason:
    color = _deep_color(image)
    if color and image.format not in DEEP_DECODERS:
        return DEEP_COLOR
    if color and image.format == "TIFF" and not _has_tiff_decoder(image):
        return NEEDS_TIFF
    deep = "float" if image.mode == "F" else "integer" if color or _deep_gray(image) else ""
    exact = not deep and image.mode not in TRANSPARENT and "transparency" not in image.info
    gray = _gray_mode(image.mode) or (color and str(_packing(image)).startswith("LA"))
    mime_type = MIME_TYPES.get(image.format or "", "") if exact and not _has_pages(image) else ""
    return Header(gray, deep, exact, mime_type)


def _has_tiff_decoder(image: ImageFile) -> bool:
    plain = image.info.get("compression") in ("raw", "tiff_adobe_deflate", "tiff_deflate")
    return _installed("tifffile") and (plain or _installed("imagecodecs"))


def _gray_mode(mode: str) -> bool:
    return mode in ("1", "L", "LA", "La", "F") or mode.startswith("I")


def _packing(image: ImageFile) -> Any:
    """Return Pillow's name of the sample packing, such as "RGB;16B"; empty after loading."""
    arguments = image.tile[0][3] if image.tile else ""
    return arguments[0] if isinstance(arguments, tuple) and arguments else arguments


def _deep_color(image: ImageFile) -> bool:
    """Whether colors have 16 bits; Pillow would keep only the upper 8."""
    if image.format == "PPM" and image.mode == "RGB" and image.tile:
        codec, _, _, arguments = image.tile[0]
        return codec == "ppm" and isinstance(arguments, tuple) and arguments[1] > 255
    return image.mode in ("RGB", "RGBA") and ";16" in str(_packing(image))


def _deep_gray(image: ImageFile) -> bool:
    return image.mode == "F" or image.mode.startswith("I") or _signed_bytes(image)


def _signed_bytes(image: ImageFile) -> bool:
    return image.mode == "L" and _tag(image, SAMPLE_FORMAT) == (SIGNED,)


def _tag(image: ImageFile, number: int) -> Any:
    """Return a TIFF tag, or None."""
    return getattr(image, "tag_v2", {}).get(number)


def _gray_values(image: ImageFile) -> np.ndarray:
    """Return gray values in the type of the file: Pillow has one mode for several integer types."""
    values = np.asarray(image)
    if image.mode == "F" and (missing := _tag(image, NO_DATA)) is not None:
        return np.where(values == np.float32(missing.strip("\0 ")), np.float32(np.nan), values)
    if _signed_bytes(image):
        return values.view(np.int8)
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return values.astype(np.uint16)
    if image.mode == "I" and image.format == "TIFF":
        signed = _tag(image, SAMPLE_FORMAT) == (SIGNED,)
        if (_tag(image, BITS) or (32,))[0] <= 16:
            return values.astype(np.int16 if signed else np.uint16)
        return values if signed else values.view(np.uint32)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _png_values(_: ImageFile, content: bytes) -> np.ndarray:
    import torch
    from torchvision.io import ImageReadMode, decode_png

    pixels = decode_png(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.UNCHANGED)
    return np.ascontiguousarray(pixels.numpy().transpose(1, 2, 0))


def _tiff_values(image: ImageFile, content: bytes) -> np.ndarray:
    from tifffile import TiffFile

    with TiffFile(io.BytesIO(content)) as tiff:
        page = tiff.pages[0]
        values = page.asarray()
    # Samples may be stored in planes, and there may be extra samples that are not opacity.
    values = np.moveaxis(values, 0, -1) if page.axes.startswith("S") else values
    return np.ascontiguousarray(values[..., : len(image.getbands())])


def _ppm_values(image: ImageFile, content: bytes) -> np.ndarray:
    start, shape = image.tile[0][2], (image.height, image.width, 3)
    return np.frombuffer(content, ">u2", int(np.prod(shape)), start).reshape(shape).astype(np.uint16)


#: Decoders of 16-bit colors by format.
DEEP_DECODERS: Mapping[str, Callable[[ImageFile, bytes], np.ndarray]] = {
    "PNG": _png_values,
    "TIFF": _tiff_values,
    "PPM": _ppm_values,
}


def _from_dicom(content: bytes) -> Raster:
    from PIL import Image

    image = read_dicom(content)
    if image.windowed is None and image.values.dtype == np.uint8:
        pixels = 255 - image.values if image.inverted else image.values
        return Raster(picture=Image.fromarray(pixels), pages=image.frames > 1)
    return Raster(
        values=image.values,
        inverted=image.inverted,
        pages=image.frames > 1,
        window=image.window,
        windowed=image.windowed,
    )


def _has_pages(image: ImageFile) -> bool:
    return bool(getattr(image, "is_animated", False)) and image.format not in SINGLE_IMAGE_FORMATS


def _orientation(image: ImageFile) -> int:
    # An image with damaged EXIF data is still read.
    try:
        orientation = image.getexif().get(0x0112)
    except Exception:
        return 1
    return orientation if isinstance(orientation, int) else 1
