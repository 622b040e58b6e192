"""Pixels of any depth: one range for a data set, stored with its items, the same wherever an image is shown."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from PIL import Image

from initpools_cli.core.config import DatasetTable, scale_range
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.cache import CURRENT
from initpools_cli.datasets.decode import read_image
from initpools_cli.datasets.open import open_dataset
from initpools_cli.datasets.scale import ConversionCounts, Scale, kind_of
from initpools_cli.datasets.spec import CONVERSION, Dataset, DatasetSpec
from initpools_cli.reporting.image_bytes import original


def opened(place: Path, known: pd.DataFrame | None = None, **facts: object) -> Dataset:
    spec = DatasetSpec(str(place), **{"size": 16, **facts})
    return open_dataset(spec, seed=0, cache=place.parent / "cache", report=Reporter(quiet=True), stored_items=known)


#: GDAL's tag of TIFF for the value of pixels without data.
NO_DATA = (42113, "s", 0, "-9999", True)


def deep_folder(folder: Path, n: int = 12) -> Path:
    """Images of 16 bits whose values go from 100 to 600, as a microscope's do."""
    folder.mkdir(parents=True, exist_ok=True)
    ramp = (100 + np.arange(32 * 32) * 501 // 1024).astype(np.uint16).reshape(32, 32)
    for i in range(n):
        Image.fromarray(np.roll(ramp, 3 * i, axis=0)).save(folder / f"{i:03}.tif")
    return folder


def png16(values: np.ndarray) -> bytes:
    """A PNG of 16 bits with 2, 3 or 4 channels, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_one_range_for_a_data_set_is_printed_stored_and_kept(tmp_path, initpools, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deep_folder(tmp_path / "deep")
    result = initpools("embed", "pixels", "--dataset", "deep", "--set", "dataset.size=32")
    assert (
        result.code == 0
        and "(uint16): values 100,600 become 0 to 255 (dataset.scale = auto: 0.1 and 99.9" in result.err
    )
    pixels = 255 * np.load(tmp_path / "runs/deep/embed/pixels/train.npy")
    assert len(np.unique(pixels)) > 200 and pixels.min() == 0 and pixels.max() == 255
    # An image that comes later is shown by the same range, however it would fill one of its own, and is counted.
    Image.fromarray(np.full((32, 32), 350, np.uint16)).save(tmp_path / "deep" / "flat.tif")
    Image.fromarray(np.full((32, 32), 1000, np.uint16)).save(tmp_path / "deep" / "over.tif")
    again = initpools("embed", "pixels", "--force")
    assert again.code == 0 and "50 % of their values (1024 in 1 image) are outside this range and clipped" in again.err
    later = 255 * np.load(tmp_path / "runs/deep/embed/pixels/train.npy")
    assert np.array_equal(later[:12], pixels) and np.allclose(later[12], 127.5, atol=1) and np.allclose(later[13], 255)
    items = pd.read_csv(tmp_path / "runs/deep/data/items.csv")
    assert set(items[CONVERSION]) == {"uint16 100,600"}
    # Without the cache, too, and not under another setting.
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert initpools("embed", "pixels", "--force").code == 0
    assert np.array_equal(255 * np.load(tmp_path / "runs/deep/embed/pixels/train.npy"), later)
    other = initpools("embed", "pca", "--set", "dataset.scale=full")
    assert other.code == 2 and "about dataset.scale = 'auto', not 'full'" in other.err


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ([np.arange(65_536, dtype=np.uint16)], (0, 65_535)),
        ([np.arange(-128, 128).astype(np.int8)], (-128, 127)),
        ([np.arange(4096, dtype=np.uint16)], (4, 4091)),
        ([np.arange(1000, 3000, dtype=np.int32), np.arange(3000, 5000, dtype=np.uint16)], (1004, 4995)),
        ([np.arange(256, dtype=np.int64)], (0, 255)),
        ([np.arange(256, dtype=np.float32)], (0, 255)),
        ([np.array([False, True])], (0, 1)),
        ([np.linspace(0.2, 0.7, 100)], (0, 1)),
        ([np.linspace(0, 0.01, 10_001)], (1e-5, 0.00999)),
        ([np.linspace(-1000, 3000, 4001).astype(np.float32)], (-996, 2996)),
        ([np.r_[np.zeros(99_999), 5]], (0, 5)),
        ([np.r_[np.linspace(0, 1, 1000), np.nan, np.inf]], (0, 1)),
        ([np.full(9, 7, np.uint16)], (7, 8)),
    ],
)
def test_the_range_is_that_of_the_values(values, limits):
    scale = Scale().fitted(values)
    assert np.allclose(scale.limits(values[0].dtype), limits, rtol=1e-3)


def test_floats_from_0_to_1_beside_integers_have_their_own_range():
    scale = Scale().fitted([np.linspace(0, 1, 99), np.arange(2000, dtype=np.uint16)])
    assert scale.limits(np.dtype(float)) == (0, 1) and scale.limits(np.dtype(np.uint16)) == (2, 1997)
    # Other floats are in the unit of the integers.
    scale = Scale().fitted([np.linspace(-500, 500, 99), np.arange(2000, dtype=np.uint16)])
    assert scale.limits(np.dtype(float)) == scale.limits(np.dtype(np.uint16))


@given(arrays_of.arrays(st.sampled_from([np.int16, np.uint16, np.int32, np.float32, np.float64]), st.integers(1, 30)))
def test_values_are_scaled_clipped_and_counted(values):
    tally = ConversionCounts()
    low, high = -10.0, 90.0
    pixels = tally.add(values, (low, high))
    wide = values.astype(np.float64)
    clean = np.where(np.isnan(wide), low, wide)
    assert np.abs(pixels - (np.clip(clean, low, high) - low) / (high - low) * 255).max() <= 0.5 + 1e-3
    assert tally.clipped_values == np.count_nonzero(np.isfinite(wide) & ((wide < low) | (wide > high)))
    assert tally.invalid == (not np.isfinite(wide).all())


@pytest.mark.parametrize("text", ["5", "9,2", "3,3", "a,b", "nan,1", "0,inf", "1,2,3", ""])
def test_a_scale_that_is_none_is_refused(initpools, text):
    ended = initpools("embed", "pixels", "--dataset", "digits", "--set", f"dataset.scale={text}", "--run", "none")
    assert ended.code == 2 and "dataset.scale" in ended.err and "lo < hi" in ended.err
    assert scale_range("-160,240.5") == (-160, 240.5) and "scale" not in DatasetTable().identity()


STORED = [
    ("16.png", np.uint16),
    ("16.tif", np.uint16),
    ("16.jp2", np.uint16),
    ("16.pgm", np.uint16),
    ("signed.tif", np.int32),
    ("float.tif", np.float32),
]


@pytest.mark.parametrize(("name", "dtype"), STORED)
def test_files_and_arrays_of_the_same_values_are_the_same_pixels(tmp_path, name, dtype):
    values = np.linspace(0, 60_000, 16 * 16).reshape(16, 16).astype(dtype)
    (tmp_path / "f").mkdir()
    Image.fromarray(values).save(tmp_path / "f" / name, **({"irreversible": False} if "jp2" in name else {}))
    np.savez(tmp_path / "a.npz", train_images=values[None])
    for setting in ("auto", "1000,50000"):
        file, array = (opened(place, scale=setting) for place in (tmp_path / "f", tmp_path / "a.npz"))
        assert np.array_equal(file.splits["train"].images, array.splits["train"].images)
        assert file.items[CONVERSION].tolist() == array.items[CONVERSION].tolist()
        low, high = file.scale.limits(np.dtype(dtype))
        expected = np.clip((values.astype(float) - low) / (high - low) * 255, 0, 255)
        assert np.abs(file.splits["train"].images[0, ..., 0] - expected).max() <= 0.51


def test_every_view_of_an_image_is_converted_alike(tmp_path):
    data = opened(deep_folder(tmp_path / "f", 3), size=32)
    stored = data.splits["train"].images[1, ..., 0]
    assert np.array_equal(np.asarray(read_image(tmp_path / "f" / "001.tif", data.scale))[..., 0], stored)
    shown = original(data, 1)
    assert shown.kind == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown.content)))[..., 0], stored)


def test_a_browser_is_sent_what_training_sees(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    red = Image.new("RGB", (16, 16), (200, 0, 0))
    red.save(folder / "a.png")
    red.save(folder / "b.gif", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(folder / "c.png")
    data = opened(folder)
    assert original(data, 0).content == (folder / "a.png").read_bytes()
    for row in (1, 2):
        shown = np.asarray(Image.open(io.BytesIO(original(data, row).content)))
        assert np.array_equal(shown, data.splits["train"].images[row])
    assert data.notes == [
        "1 file with transparent pixels, which get a white background: c.png",
        "1 file with several pages or frames, of which the first is used: b.gif",
    ]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "gif", "16"])
def test_transparent_pixels_lie_on_white(tmp_path, mode):
    (tmp_path / "f").mkdir()
    half = np.zeros((16, 16, 4), np.uint8)
    half[:8, :, 3] = 255
    image, name = Image.fromarray(half), "a.gif" if mode == "gif" else "a.png"
    if mode == "16":
        (tmp_path / "f" / name).write_bytes(png16(half[..., 2:].astype(np.uint16) * 257))
    elif mode in ("P", "gif"):
        image.convert("P").save(tmp_path / "f" / name, transparency=image.convert("P").getpixel((0, 15)))
    else:
        image.convert(mode).save(tmp_path / "f" / name)
    data = opened(tmp_path / "f", scale="full")
    pixels = data.splits["train"].images[0]
    assert (pixels[9:] == 255).all() and (mode in ("P", "gif") or (pixels[:7] == 0).all())
    assert "white" in data.items[CONVERSION][0]


def test_opaque_images_keep_their_bytes_and_their_cache(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    (tmp_path / "f").mkdir()
    Image.fromarray(pixels[0]).convert("RGBA").save(tmp_path / "f" / "a.png")
    Image.fromarray(pixels[1]).save(tmp_path / "f" / "b.png")
    data = opened(tmp_path / "f")
    assert np.array_equal(data.splits["train"].images, pixels) and CONVERSION not in data.items
    # The name of the folder in the cache, as versions without dataset.scale gave it.
    text = "1 16" + "".join(f"\ntrain {checksum}" for checksum in data.items["sha256"])
    assert [place.name for place in (tmp_path / "cache" / "arrays").iterdir()] == [
        hashlib.sha256(text.encode()).hexdigest()[:32]
    ]


@pytest.mark.parametrize("ending", ["png", "tif", "ppm"])
def test_colors_of_16_bits_keep_more_than_their_upper_byte(tmp_path, ending):
    import tifffile

    values = np.linspace(100, 600, 16 * 16 * 3).reshape(16, 16, 3).astype(np.uint16)
    (tmp_path / "f").mkdir()
    file = tmp_path / "f" / f"a.{ending}"
    if ending == "png":
        file.write_bytes(png16(values))
    elif ending == "tif":
        tifffile.imwrite(file, values, photometric="rgb")
    else:
        file.write_bytes(b"P6 16 16 65535\n" + values.astype(">u2").tobytes())
    images = opened(tmp_path / "f").splits["train"].images
    assert images.shape == (1, 16, 16, 3) and len(np.unique(images)) == 256


def test_files_of_8_bits_beside_deep_ones_stay_as_they_are(tmp_path):
    deep_folder(tmp_path / "f", 3)
    Image.fromarray(np.full((16, 16), 90, np.uint8)).save(tmp_path / "f" / "plain.png")
    data = opened(tmp_path / "f")
    assert (data.splits["train"].images[3] == 90).all() and data.items[CONVERSION][3] == ""
    assert any(note.startswith("1 image of 8 bits, left unchanged") for note in data.notes)


def test_pixels_that_are_no_number_are_reported(tmp_path):
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 16, 16)
    values[0, 0, :2] = np.nan, np.inf
    np.savez(tmp_path / "a.npz", train_images=values)
    data = opened(tmp_path / "a.npz")
    assert data.splits["train"].images[0, 0, :2, 0].tolist() == [0, 255]
    assert any("1 image with NaN or infinite values" in note for note in data.notes)


def test_one_range_holds_for_all_splits_and_comes_from_train(tmp_path):
    rng = np.random.default_rng(0)
    train = rng.integers(100, 600, (20, 8, 8)).astype(np.uint16)
    np.savez(tmp_path / "a.npz", train_images=train, test_images=np.full((3, 8, 8), 9000, np.uint16))
    data = opened(tmp_path / "a.npz", size=0)
    assert (data.splits["test"].images == 255).all() and len(np.unique(data.splits["train"].images)) > 200
    # Touched and read again, the range is the one that the run has.
    known = data.items.copy()
    known[CONVERSION] = "uint16 0,10000"
    with pytest.raises(UserError, match="has changed since this run was started"):
        opened(tmp_path / "a.npz", known, size=0)


def test_a_run_of_an_earlier_version_is_told_what_is_read_otherwise(tmp_path):
    """Versions before `dataset.scale` stored no conversion, and divided values of 16 bits by 257."""
    folder = deep_folder(tmp_path / "f", 4)
    new = opened(folder)
    old = new.items.drop(columns=CONVERSION)
    again = opened(folder, old)
    assert again.items[CONVERSION].tolist() == new.items[CONVERSION].tolist()
    assert any("started this run, read 4 images differently" in note for note in again.notes)
    assert np.array_equal(again.splits["train"].images, new.splits["train"].images)
    # One with nothing but plain images is looked at once, and never decoded again.
    for file in folder.iterdir():
        file.unlink()
    Image.new("L", (16, 16), 3).save(folder / "a.png")
    plain = opened(folder)
    marks = list((tmp_path / "cache" / "arrays").glob(f"*/{CURRENT}"))
    for mark in marks:
        mark.unlink()
    assert opened(folder, plain.items).items is plain.items
    assert len(list((tmp_path / "cache" / "arrays").glob(f"*/{CURRENT}"))) == 1


def test_kinds_of_values_are_two():
    assert [kind_of(np.dtype(name)) for name in ("bool", "int8", "uint64", "float16")] == ["integer"] * 3 + ["float"]


def dicom(file: Path, values: np.ndarray, photometric: str = "MONOCHROME2", frames: int = 1, **tags: object) -> None:
    """A DICOM file of 16 bits, or of 8."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *values.shape[:2], 1
    dataset.PhotometricInterpretation, dataset.NumberOfFrames = photometric, frames
    bits = 8 * values.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = np.tile(values, (frames, 1, 1)).tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    file.parent.mkdir(exist_ok=True)
    dataset.save_as(file, enforce_file_format=True)


def test_dicom_values_are_rescaled_and_share_one_range(tmp_path):
    stored = np.arange(256, dtype=np.int16).reshape(16, 16) * 16
    units = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    dicom(tmp_path / "f" / "a.dcm", stored, frames=2, **units)
    dicom(tmp_path / "f" / "noname", stored[::-1].copy(), "MONOCHROME1", **units)
    data = opened(tmp_path / "f", scale="-1024,3056")
    images = data.splits["train"].images
    assert images.shape == (2, 16, 16, 1) and np.array_equal(images[0, ..., 0].reshape(-1), np.arange(256))
    assert np.array_equal(images[1, ..., 0], 255 - images[0, ::-1, :, 0])
    assert any("1 file with several pages or frames" in note for note in data.notes)
    assert data.items[CONVERSION].tolist() == ["int16 -1024,3056"] * 2
    # A rescale that makes a type overflow, or no whole numbers.
    dicom(tmp_path / "g" / "a.dcm", stored, RescaleSlope=0.5, RescaleIntercept=0)
    dicom(tmp_path / "h" / "a.dcm", stored, RescaleSlope=100, RescaleIntercept=0)
    assert opened(tmp_path / "g", scale="0,2040").splits["train"].images[0, 15, 15] == 255
    assert opened(tmp_path / "h", scale="0,408000").items[CONVERSION][0].startswith("int32")


@pytest.mark.parametrize(
    ("how", "shown"), [("LINEAR", [0, 128, 255]), ("LINEAR_EXACT", [0, 128, 255]), ("SIGMOID", [30, 128, 225])]
)
def test_the_window_of_a_dicom_file_is_applied_unless_a_range_is_given(tmp_path, how, shown):
    values = np.repeat(np.array([[0], [100], [200]], np.int16), 3, axis=1)
    dicom(tmp_path / "f" / "a.dcm", values, WindowCenter=100, WindowWidth=200, VOILUTFunction=how)
    data = opened(tmp_path / "f", size=3)
    assert np.allclose(data.splits["train"].images[0, :, 0, 0], shown, atol=1)
    assert data.items[CONVERSION][0] == "window" and "center 100, width 200" in data.notes[0]
    assert np.allclose(opened(tmp_path / "f", size=3, scale="0,1000").splits["train"].images[0, 1], 25, atol=1)


def test_dicom_of_8_bits_and_heic_need_no_range(tmp_path):
    import pillow_heif

    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    dicom(tmp_path / "f" / "a.dcm", gray)
    assert np.array_equal(opened(tmp_path / "f").splits["train"].images[0, ..., 0], gray)
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), (200, 30, 30))).save(tmp_path / "f" / "b.heic", quality=90)
    images = opened(tmp_path / "f").splits["train"].images
    assert images.shape == (2, 16, 16, 3) and np.abs(images[1].astype(int) - [200, 30, 30]).max() < 8


def test_formats_without_their_extra_are_counted_with_its_name(tmp_path, monkeypatch):
    import tifffile

    dicom(tmp_path / "f" / "a.dcm", np.zeros((4, 4), np.uint8))
    (tmp_path / "f" / "b.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    (tmp_path / "f" / "c.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    tifffile.imwrite(tmp_path / "f" / "d.tif", np.zeros((4, 4, 3), np.uint16), photometric="rgb")
    monkeypatch.setattr("initpools_cli.datasets.raster._installed", lambda package: False)
    with pytest.raises(UserError, match="contains no images") as caught:
        opened(tmp_path / "f")
    assert '2 files are HEIC files, which need an extra, and were skipped (pip install ".[heif]")' in caught.value.fact
    assert '1 file is a DICOM file, which needs an extra, and was skipped (pip install ".[dicom]")' in caught.value.fact
    assert all(f'`pip install ".[{extra}]"`' in caught.value.remedy for extra in ("heif", "dicom", "tiff"))
    Image.new("L", (4, 4)).save(tmp_path / "f" / "e.png")
    assert any("2 files are HEIC files" in note for note in opened(tmp_path / "f").notes)


def test_images_too_large_to_decode_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    (tmp_path / "f").mkdir()
    Image.new("L", (40, 40)).save(tmp_path / "f" / "huge.png")
    Image.new("L", (4, 4)).save(tmp_path / "f" / "small.png")
    assert "million pixels" in opened(tmp_path / "f").notes[0] and "huge.png" in opened(tmp_path / "f").notes[0]


@pytest.mark.parametrize("what", ["folder", "npz", "resized"])
def test_what_does_not_fit_on_the_disk_is_refused_before_it_is_written(tmp_path, monkeypatch, what):
    place = deep_folder(tmp_path / "f", 3)
    if what != "folder":
        place = tmp_path / "a.npz"
        np.savez(place, train_images=np.zeros((9, 8, 8), np.uint16))
    usage = shutil.disk_usage(tmp_path)._replace(free=1300)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    with pytest.raises(UserError, match=r"take \d.* on the disk of .*, but only 1.3 kB are free") as caught:
        opened(place, size=64 if what == "resized" else 32)
    assert "INITPOOLS_DATA" in caught.value.remedy and not list((tmp_path / "cache").glob("arrays/*"))


def test_what_does_not_fit_into_memory_is_refused(initpools, tmp_path, monkeypatch):
    monkeypatch.setattr("initpools_cli.core.capacity.free_memory", lambda: 1e5)
    ended = initpools("embed", "pca", "--dataset", "digits", "--run", tmp_path / "run")
    assert ended.code == 2 and "of 64 values take 368.1 kB of memory, but only 100.0 kB are free" in ended.err
    assert not (tmp_path / "run").exists()


def test_deep_images_may_join_a_run_of_plain_ones(tmp_path):
    (tmp_path / "f").mkdir()
    Image.new("L", (16, 16), 90).save(tmp_path / "f" / "a.png")
    plain = opened(tmp_path / "f").items
    joined = opened(deep_folder(tmp_path / "f", 2), plain)
    assert joined.items[CONVERSION].tolist() == ["", "uint16 100,600", "uint16 100,600"]
    again = opened(tmp_path / "f", joined.items)
    assert again.items is joined.items and again.notes == []
    assert (again.splits["train"].images[0] == 90).all() and len(np.unique(again.splits["train"].images[1])) > 100


def test_pixels_without_data_and_planes_beside_the_colors_are_left_out(tmp_path):
    import tifffile

    ramp = np.linspace(0, 300, 256, dtype=np.float32).reshape(16, 16)
    ramp[0] = -9999
    (tmp_path / "f").mkdir()
    tifffile.imwrite(
        tmp_path / "f" / "a.tif", ramp, photometric="minisblack", extratags=[(42113, "s", 0, "-9999", True)]
    )
    data = opened(tmp_path / "f")
    assert len(np.unique(data.splits["train"].images)) > 200 and any("NaN" in note for note in data.notes)
    (tmp_path / "g").mkdir()
    values = np.linspace(100, 600, 16 * 16 * 4).reshape(16, 16, 4).astype(np.uint16)
    tifffile.imwrite(tmp_path / "g" / "a.tif", values, photometric="rgb", extrasamples=["unspecified"])
    assert opened(tmp_path / "g").splits["train"].images[0, 0, 0].max() < 5
