"""HAM10000 (Tschandl et al. 2018, doi:10.1038/sdata.2018.161): dermatoscopic images to be downloaded by the user."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.labels import from_csv
from initpools_cli.datasets.sources import DatasetFacts, Entry, Files

METADATA = "HAM10000_metadata.csv"
#: The column of lesions; several images show the same lesion.
LESION = "lesion_id"
IMAGES = "HAM10000_images_part_"


def entries() -> list[Entry]:
    """Return the entry of `ham10000`."""
    facts = DatasetFacts(
        name="ham10000",
        title="HAM10000, 10015 dermatoscopic images; to be downloaded by the user",
        classes=7,
        channels=3,
        source="https://doi.org/10.7910/DVN/DBW86T",
        license="CC BY-NC 4.0",
        download=False,
    )
    return [Entry(facts, _load)]


def _load(home: Path, size: int, scratch: Path, report: Reporter) -> Files:
    root = home / "ham10000"
    folders = tuple(sorted(folder.name for folder in root.glob(f"{IMAGES}*") if folder.is_dir()))
    if not (root / METADATA).is_file() or not folders:
        raise UserError(
            f"HAM10000 is not in {root}, and it can't be downloaded automatically.",
            f"Download it from the Harvard Dataverse (doi:10.7910/DVN/DBW86T) and put {METADATA} and the unpacked "
            f"folders {IMAGES}1 and {IMAGES}2 into {root}.",
            root,
        )
    groups = (str(root / METADATA), LESION)
    return Files(root, partial(from_csv, root / METADATA), folders, groups)
