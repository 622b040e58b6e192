"""Weights on the Hugging Face hub: their place in its cache, and their download."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from initpools_cli.core.checksums import checksum
from initpools_cli.core.download import MIB
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import ProgressBar, Reporter
from initpools_cli.core.system_errors import place_errors
from initpools_cli.networks.frozen import HubFile, PretrainedWeights

# Seconds that the hub has to answer a question about a file.
_TIMEOUT = 10.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


def on_hub(model: str, files: tuple[str, ...], revision: str = "") -> PretrainedWeights:
    """Return the weights of a model on the hub, from its cache if they are there.

    Parameters
    ----------
    model : str
        Owner and name, such as "timm/resnet18.a1_in1k".
    files : tuple of str
        Names of the file, the preferred one first.
    revision : str
        A branch, a tag or a commit; empty: the main branch.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    cache_files = [try_to_load_from_cache(model, file, revision=revision or None) for file in files]
    return PretrainedWeights(
        next((Path(file) for file in cache_files if isinstance(file, str)), None),
        Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}",
        f"{constants.ENDPOINT}/{model}/resolve/{revision or 'main'}/{files[0]}",
        f"hf download {model} {files[0]}",
        HubFile(model, files, revision or "main"),
    )


def commit_of(weights: Path) -> str:
    """Return model and commit of a file in the hub's cache, such as "timm/resnet18.a1_in1k@1c2b…"; else empty."""
    folders = weights.absolute().parts
    for place, folder in enumerate(folders[:-2]):
        if folder.startswith("models--") and folders[place + 1] == "snapshots":
            return f"{folder.removeprefix('models--').replace('--', '/')}@{folders[place + 2]}"
    return ""


def download(weights: PretrainedWeights, hub_file: HubFile, report: Reporter) -> Path:
    """Download a file of a model to the hub's cache, and return its path there.

    The file belongs to the commit that the revision stands for now. A file with another size or SHA-256 than the hub
    states is discarded.

    Raises
    ------
    UserError
        The hub can't be reached or is switched off, has no such model or file, or sent a damaged file; or the disk is
        full.
    """
    from huggingface_hub import constants, hf_hub_download

    by_hand = f"download {weights.address} and pass its path with --weights FILE."
    if constants.HF_HUB_OFFLINE:
        raise UserError(
            f"HF_HUB_OFFLINE forbids downloads from the hub, and there is no {weights.place}.",
            f"Unset HF_HUB_OFFLINE, or {by_hand}",
            "HF_HUB_OFFLINE",
        )
    try:
        with place_errors(weights.place.parent, "HF_HOME"), _silent(report):
            file, facts = _first(hub_file)
            report.say(
                f"downloading {file} of {hub_file.model}{_size(facts.size)}, revision {str(facts.commit_hash)[:12]}"
            )
            with report.progress(f"downloading {file}", -(-(facts.size or 0) // MIB), "MiB") as bar:
                path = Path(
                    hf_hub_download(
                        hub_file.model,
                        file,
                        revision=hub_file.revision,
                        tqdm_class=_bar_of(bar),
                        endpoint=constants.ENDPOINT,
                    )
                )
            _verify(path)
    except UserError:
        raise
    # Which exceptions the client raises depends on its version and on the HTTP library below it.
    except Exception as error:
        fact, remedy = _explain(error, hub_file)
        raise UserError(
            f"The weights {hub_file.model} could not be downloaded from {constants.ENDPOINT}: {fact}.",
            f"{remedy}, or {by_hand}",
            hub_file.model,
        ) from None
    return path


def _first(hub_file: HubFile) -> tuple[str, Any]:
    """Return the first file that the model has, and the hub's facts about it: size, commit, ETag."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for file in hub_file.files:
        url = hf_hub_url(hub_file.model, file, revision=hub_file.revision, endpoint=constants.ENDPOINT)
        try:
            return file, get_hf_file_metadata(url, timeout=_TIMEOUT, endpoint=constants.ENDPOINT)
        except EntryNotFoundError:
            if file == hub_file.files[-1]:
                raise
    raise AssertionError("no file is wanted")


def _size(size: int | None) -> str:
    return f", {size / MIB:.1f} MiB" if size else ""


def _verify(path: Path) -> None:
    """Verify the checksum of a downloaded file. The hub's client names a file by the SHA-256 that the hub states.

    Small files are named by a SHA-1 of Git instead and are not verified.
    """
    blob = path.resolve()
    if not _SHA256.fullmatch(blob.name):
        return
    actual = checksum(blob)
    if actual != blob.name:
        path.unlink()
        blob.unlink(missing_ok=True)
        raise ValueError(f"the file had the SHA-256 {actual}, not {blob.name}, and was discarded")


def _explain(error: Exception, hub_file: HubFile) -> tuple[str, str]:
    """Return what went wrong and what to do about it, as parts of sentences."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return (
            "its owner gives access on request",
            f"Ask for access on the page of {hub_file.model} and log in with `hf auth login`",
        )
    if isinstance(error, RepositoryNotFoundError):
        return "there is no such model, or it is private", "Log in with `hf auth login` if it is yours"
    if isinstance(error, EntryNotFoundError) and isinstance(error, HfHubHTTPError):
        return f"the model has no {' and no '.join(hub_file.files)}", "Choose another network"
    if isinstance(error, HfHubHTTPError):
        return f"the server answered {error.response.status_code} {error.response.reason_phrase}", "Try again later"
    sizes = re.search(r"should be of size (\d+) but has size (\d+)", str(error))
    if sizes:
        return f"the file should have {sizes[1]} bytes, and {sizes[2]} came; it was discarded", "Try again"
    reason = (str(error) or type(error).__name__).split("\n", 1)[0].rstrip(".")
    return re.sub(r"^\[Errno -?\d+\] ", "", reason), "Check the connection and try again"


def _bar_of(bar: ProgressBar) -> type:
    """Return a class with the methods of tqdm that the hub's client calls, which shows bytes in our bar."""

    class Bytes:
        def __init__(self, *_: object, total: int | None = None, initial: int = 0, **__: object) -> None:
            self.total, self.n = total, initial

        def __enter__(self) -> Bytes:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def update(self, count: int = 1) -> None:
            before, self.n = self.n, self.n + count
            bar.advance(self.n // MIB - before // MIB)

        # With this method, the client counts compressed bytes on the way here and bytes of the file separately.
        def update_transfer(self, count: int) -> None: ...

        def set_transfer_postfix_str(self, *_: object, **__: object) -> None: ...

        def set_postfix_str(self, *_: object, **__: object) -> None: ...

        def refresh(self) -> None: ...

        def close(self) -> None: ...

    return Bytes


@contextmanager
def _silent(report: Reporter) -> Iterator[None]:
    """Leave out the warnings of the hub's client, such as those of retries; --verbose shows them."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    try:
        if not report.verbose:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        logger.setLevel(before)
