"""Labeling by hand: what is saved after every click, by whom, and what the server refuses."""

from __future__ import annotations

import errno
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools, process
from faults.label_requests import act
from PIL import Image

from initpools_cli.cli.label import _start_server
from initpools_cli.cli.labeler.label_lock import LabelLock, label_lock, new_token
from initpools_cli.cli.labeler.server import FILES, Server
from initpools_cli.cli.labeler.state import LabelingState
from initpools_cli.cli.options import Common
from initpools_cli.core.checked_toml import read_checked_toml, write_checked_toml
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.spec import Dataset, DatasetSpec, Split
from initpools_cli.labeling import session
from initpools_cli.labeling.classes import ClassList, InvalidClass, tidy
from initpools_cli.labeling.images import RunImages
from initpools_cli.labeling.label_file import COLUMNS
from initpools_cli.labeling.last_round import LastRound, Suggestion
from initpools_cli.labeling.page import LabelingSession, open_labeling

BUDGET = 6
BITES = ["<script>alert(1)</script>.png", "with 'quotes' & \".png", "ünï/日本語.png", "=1+1,;.png"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``photos`` and a run with a pool of six of them; copied before it is written to."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    for name in [*BITES, *(f"{i}.jpg" for i in range(5))]:
        file = folder / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (9, 8, 3), dtype=np.uint8)).save(file)
    ended = process("select-pool", "random", "-n", BUDGET, "--dataset", "photos", "--threads", 1, cwd=folder)
    _, stderr = ended.communicate()
    assert ended.returncode == 0, stderr
    return folder


@pytest.fixture
def run(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, in the current folder; its photos are copied, too."""
    shutil.copytree(template / "runs", tmp_path / "runs")
    shutil.copytree(template / "photos", tmp_path / "photos")
    fixed = tmp_path / "runs/photos/run.toml"
    facts = read_checked_toml(fixed, "")
    facts["dataset"]["source"] = facts["dataset"]["source"].replace(str(template), str(tmp_path))
    write_checked_toml(fixed, facts)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs/photos"


def opened(
    run: Path, batch: str | None = None, classes: str = "cat,dog", output: Path | None = None
) -> LabelingSession:
    context = Common(run=run, quiet=True).start("dataset")
    return open_labeling(context, batch, [name for name in classes.split(",") if name], output)


def label(labeling: LabelingSession, order: int, name: str) -> None:
    labeling.label([labeling.indices[order]], name)


def answers(labeling: LabelingSession) -> list[tuple[str, bool]]:
    return [labeling.marks[index].answer for index in labeling.indices]


def table(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, keep_default_na=False)


# ---- the file


def test_every_change_is_in_the_file_and_undone_in_reverse(run: Path) -> None:
    labeling = opened(run)
    picks = table(next(run.glob("pool/*/items.csv")))
    label(labeling, 0, "cat")
    labeling.skip([labeling.indices[1]])
    label(labeling, 1, "dog")
    label(labeling, 0, "dog")
    rows = table(run / "labels/random-b6-s0.csv")
    assert tuple(rows) == COLUMNS and rows["order"].tolist() == list(range(BUDGET))
    assert rows["index"].tolist() == picks["index"].tolist() and rows["path"].tolist() == picks["path"].tolist()
    assert rows["label"].tolist() == ["dog", "dog", "", "", "", ""] and rows["skipped"].tolist() == [0] * BUDGET
    states = []
    while labeling.undo():
        rows = table(labeling.file)
        states.append((rows["label"][0], rows["label"][1], rows["skipped"][1]))
    assert states == [("cat", "dog", 0), ("cat", "", 1), ("cat", "", 0), ("", "", 0)]
    assert not labeling.can_undo and labeling.labeled == labeling.skipped == 0


def test_a_file_by_hand_is_read_whatever_wrote_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = opened(run)
    inside = first.paths[:3]
    other = next(f"{i}.jpg" for i in range(5) if f"{i}.jpg" not in first.paths)
    first.file.parent.mkdir(parents=True)
    # Excel's byte-order mark, semicolons, Windows line ends; the columns in another order; an image of another batch.
    lines = ["Label;Path;skipped", f"cat;{quoted(inside[0])};", f";{quoted(inside[1])};1"]
    lines += [f"zebra;{other};", "cat;none.jpg;"]
    first.file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    again = opened(run)
    assert answers(again)[:3] == [("cat", False), ("", True), ("", False)]
    assert "line 5" in capsys.readouterr().err
    label(again, 2, "dog")
    rows = table(again.file)
    assert rows["label"].tolist() == ["cat", "", "dog", "", "", "", "zebra", "cat"]
    assert rows["path"].tolist()[-2:] == [other, "none.jpg"]
    assert opened(run).marks == again.marks


def quoted(path: str) -> str:
    return '"' + path.replace('"', '""') + '"'


def test_what_others_write_meanwhile_is_not_lost(run: Path) -> None:
    labeling = opened(run)
    label(labeling, 0, "cat")
    labeling.file.write_text(labeling.file.read_text().replace(",cat,0", ",dog,0"))
    label(labeling, 1, "cat")
    assert table(labeling.file)["label"].tolist()[:2] == ["dog", "cat"]
    labeling.file.write_bytes(b"\0\1")
    with pytest.raises(UserError):
        label(labeling, 2, "cat")
    assert labeling.file.read_bytes() == b"\0\1" and answers(labeling)[2] == ("", False)
    labeling.file.unlink()
    label(labeling, 2, "cat")
    assert table(labeling.file)["label"].tolist()[:3] == ["dog", "cat", "cat"]


def test_batches_by_name_file_and_age(run: Path, initpools: Initpools) -> None:
    names = table(run / "data/items.csv")["path"].tolist()
    assert initpools("select-pool", "random", "-n", 2, "--run", run, "--threads", 1).code == 0
    assert opened(run).name == "random-b2-s0" and len(opened(run, "pool/random-b6-s0").marks) == 6
    Path("mine.csv").write_text(f"path,label\n{names[3].replace('/', chr(92))},\n{names[1]},bird\n{names[3]},cat\n")
    mine = opened(run, "mine.csv")
    assert mine.indices == [3, 1] and [label for label, _ in answers(mine)] == ["cat", "bird"]
    assert mine.file == run / "labels/mine.csv" and mine.vocabulary.names == ["cat", "dog", "bird"]
    Path("bad.csv").write_text("path\nnowhere.jpg\n")
    for batch, says in (("bad.csv", "line 2"), ("gone.csv", "no file"), ("random-b5-s0", "random-b")):
        with pytest.raises(UserError, match=says):
            opened(run, batch)
    with pytest.raises(UserError, match="other columns would be lost"):
        opened(run, "mine.csv", output=Path("mine.csv"))
    # The next batch of the run has the classes at the same keys.
    label(mine, 0, "a new one")
    assert opened(run, classes="").vocabulary.names == ["cat", "dog", "bird", "a new one"]


def test_classes_are_the_data_set_s_or_grow(tmp_path: Path) -> None:
    fixed = ClassList(("cat", "dog"), ["Dog"], tmp_path / "classes.txt")
    assert fixed.names == ["dog", "cat"] and fixed.resolve("CAT") == "cat"
    with pytest.raises(InvalidClass, match="Did you mean 'cat'"):
        fixed.resolve("cta")
    with pytest.raises(InvalidClass):
        ClassList(("cat",), ["horse"], tmp_path / "classes.txt")
    grows = ClassList((), ["cat"], tmp_path / "classes.txt")
    assert grows.resolve("  Sea   lion ") == "Sea lion" and grows.resolve("CAT") == "cat"
    grows.learn(["Cat", "cat ", "cafe\u0301"])
    assert grows.names == ["cat", "cafe\u0301"] and grows.resolve("caf\u00c9") == "cafe\u0301"
    with pytest.raises(InvalidClass, match="no label"):
        grows.resolve("None")
    assert ClassList((), ["None", "3"], tmp_path / "other.txt").resolve("none") == "None"
    assert ClassList((), ["None", "3"], tmp_path / "other.txt").resolve("3.0") == "3"
    grows = ClassList((), ["cat"], tmp_path / "classes.txt")
    grows.keep("Sea lion")
    assert ClassList((), [], tmp_path / "classes.txt").names == ["cat", "Sea lion"]
    for name in ("", "  ", "x" * 101, "zero\u200bwidth", "turn\u202eed"):
        with pytest.raises(InvalidClass):
            tidy(name)


# ---- the server


@dataclass
class Served:
    """A server in this process, and what a browser would send to it."""

    server: Server
    labeling: LabelingSession

    def ask(self, method: str, path: str, message: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        host = f"127.0.0.1:{self.server.server_port}"
        fields = {"Host": host, "Origin": f"http://{host}", "Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        body = json.dumps(message) if isinstance(message, dict) else message
        connection.request(method, path, body, {name: value for name, value in fields.items() if value})
        response = connection.getresponse()
        content, answer_headers = response.read(), dict(response.getheaders())
        connection.close()
        is_json = answer_headers["Content-Type"] == "application/json"
        return response.status, json.loads(content) if is_json else content, answer_headers

    def get(self, path: str = "", **headers: str) -> tuple[int, Any, dict[str, str]]:
        return self.ask("GET", f"/{self.server.token}/{path}", **headers)

    def post(self, path: str, message: Any, **headers: str) -> tuple[int, Any]:
        return self.ask("POST", f"/{self.server.token}/{path}", message, **headers)[:2]


Serve = Callable[[LabelingSession], Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a batch in this process."""
    running = []

    def start(labeling: LabelingSession) -> Served:
        facts = {"dataset": "photos", "next": "then", "again": "again"}
        context = Common(run=Path("runs/photos"), quiet=True).start("dataset")
        server = Server(LabelingState(labeling, facts, RunImages(context)), "secret", 0)
        running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return Served(server, labeling)

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_the_page_and_its_images(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    status, page, headers = served.get()
    assert status == 200 and b'<script type="module" src="page.js">' in page
    assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
    names = [b"page.js", *re.findall(rb'(?:src|href)="(\w+\.\w+)"', page)]
    for name in names:
        status, content, _ = served.get(name.decode())
        assert status == 200
        names += [other for other in re.findall(rb'from "\./(\w+\.js)"', content) if other not in names]
    assert {name.decode() for name in names} == set(FILES)
    assert served.ask("GET", "/secret")[2]["Location"] == "/secret/"
    served.labeling.name = "</title><script>alert('x')</script>"
    assert b"<script>" not in served.get()[1] and b"&lt;script&gt;" in served.get()[1]
    state = served.post("claim", {"window": "a"})[1]
    assert [item[1] for item in state["items"]] == served.labeling.paths and not state["fixed"]
    for index, path, _, _ in state["items"]:
        status, content, headers = served.get(f"image/{index}")
        assert content == (Path("photos") / path).read_bytes() and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Type"] == ("image/jpeg" if path.endswith("jpg") else "image/png")
        # The whole image, not the square that training uses, which replaces files that are gone.
        assert Image.open(io.BytesIO(served.get(f"small/{index}")[1])).size == (8, 9)
    (Path("photos") / state["items"][0][1]).unlink()
    assert Image.open(io.BytesIO(served.get(f"small/{state['items'][0][0]}")[1])).size == (64, 64)
    status, answer, _ = served.get(f"image/{state['items'][0][0]}")
    assert status == 404 and "no longer" in answer["error"]
    (Path("photos") / state["items"][1][1]).write_text("no image")
    assert served.get(f"image/{state['items'][1][0]}")[0] == 404


def test_formats_that_browsers_do_not_show_come_as_png(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    pixels = np.arange(72, dtype=np.uint8).reshape(9, 8)
    Image.fromarray(pixels).save(Path("photos") / served.labeling.paths[0], "TIFF")
    status, content, headers = served.get(f"image/{served.labeling.indices[0]}")
    assert status == 200 and headers["Content-Type"] == "image/png"
    assert (np.asarray(Image.open(io.BytesIO(content)).convert("L")) == pixels).all()


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({}, "/"),
        ({}, "/wrong/"),
        ({}, "/secret2/page.js"),
        ({}, "/x/secret/"),
        ({"Host": "evil.example"}, None),
        ({"Host": "127.0.0.1.evil.example"}, None),
        ({"Host": "localhost:x]"}, None),
        ({"Origin": "http://evil.example"}, None),
        ({"Origin": "null"}, None),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, None),
    ],
)
def test_others_are_refused(template: Path, run: Path, serve: Serve, headers: dict[str, str], path: str | None) -> None:
    served = serve(opened(run))
    assert served.ask("GET", path or "/secret/", **headers)[0] == 403
    assert served.ask("POST", path or "/secret/claim", {"window": "a"}, **headers)[0] == 403


def test_messages_that_are_none_change_nothing(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    index = served.labeling.indices[0]
    good = {"window": "a", "number": 1, "do": "label", "index": index, "label": "cat"}
    assert served.post("act", good, Origin="")[0] == 403
    assert served.post("act", good, Content_Type="text/plain")[0] == 400
    for bad in (b"{", b"[]", b"[" * 9000, b" " * 70_000, json.dumps(good | {"index": "0"}).encode()):
        assert served.post("act", bad)[0] == 400
    for change in ({"do": "erase"}, {"window": 1}, {"number": True}, {"label": "x" * 2000}, {"do": None}):
        assert served.post("act", good | change)[0] == 400
    outside = 9
    assert served.post("act", good | {"index": outside})[0] == 422
    assert served.post("act", good | {"label": " "})[0] == 422
    paths = ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "page.html", "image/../page.css", "desk.py", "x", "state"]
    for path in [*paths, *(f"image/{name}" for name in (outside, "-1", "1e3", "9" * 30, "%C2%B2", ""))]:
        assert served.get(path)[0] == 404, path
    assert served.post("elsewhere", good)[0] == 400
    assert not served.labeling.file.exists() and served.labeling.labeled == 0


def test_a_click_that_comes_twice_counts_once(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    first, second = served.labeling.indices[:2]
    message = {"window": "a", "number": 1, "do": "label", "index": first, "label": "cat"}
    assert served.post("act", message) == served.post("act", message)
    served.post("act", message | {"number": 2, "index": second, "label": "Bird"})
    undo = {"window": "a", "number": 3, "do": "undo"}
    undone = [served.post("act", undo), served.post("act", undo)]
    assert undone[0] == undone[1] and undone[0][1]["items"] == [[second, "", False]]
    assert undone[0][1]["classes"] == ["cat", "dog", "Bird"]
    assert [label for label, _ in answers(served.labeling)[:2]] == ["cat", ""]
    assert served.post("act", undo | {"number": 4})[1] == undone[0][1] | {
        "items": [[first, "", False]],
        "canUndo": False,
    }
    assert served.post("act", undo | {"number": 5})[1]["items"] == []


def test_classes_are_named_once(run: Path) -> None:
    label(opened(run, classes="zebra,cat,a b"), 0, "cat")
    assert opened(run, classes="").vocabulary.names == ["zebra", "cat", "a b"]
    label(opened(run, classes="dog,cat"), 1, "cat")
    assert opened(run, classes="").vocabulary.names == ["dog", "cat", "zebra", "a b"]


def test_one_action_on_many_images_is_saved_and_undone_at_once(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    first, second = served.labeling.indices[:2]
    outside = [row for row in range(9) if row not in served.labeling.indices]
    message = {"window": "a", "number": 1, "do": "label", "images": [first, *outside], "label": "cat", "seconds": 1.0}
    status, answer = served.post("act", message)
    assert status == 200 and answer["items"] == [[row, "cat", False] for row in (first, *outside)]
    rows = table(served.labeling.file)
    assert rows["index"].tolist() == [*served.labeling.indices, *outside]
    labeled = rows[rows["label"] != ""]
    assert labeled["origin"].tolist() == ["batch", *["own choice"] * 3]
    assert labeled["seconds"].tolist() == ["0.3", "0.3", "0.2", "0.2"] and set(labeled["suggested"]) == {""}
    assert served.post("act", message | {"number": 2, "do": "skip", "images": [first, second]})[0] == 200
    undo = {"window": "a", "number": 3, "do": "undo"}
    assert served.post("act", undo)[1]["items"] == [[first, "cat", False], [second, "", False]]
    assert sorted(served.post("act", undo | {"number": 4})[1]["items"]) == [
        [row, "", False] for row in sorted([first, *outside])
    ]
    assert len(table(served.labeling.file)) == BUDGET and opened(run).marks.keys() == {*served.labeling.indices}
    for bad in ([], [first, "1"], first, [True]):
        assert served.post("act", message | {"number": 5, "images": bad})[0] == 400
    assert served.post("act", message | {"number": 5, "images": [first, 9]})[0] == 422


def test_rows_and_small_images_are_those_of_the_whole_run(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    batch = served.post("rows", {"scope": "batch"})[1]
    every = served.post("rows", {"scope": "all"})[1]
    assert batch["index"] == served.labeling.indices and every["index"] == [*range(9)]
    assert {len(column) for column in every.values()} == {9} and batch.keys() == every.keys()
    assert every["origin"].count("batch") == BUDGET and set(every["predicted"]) == {""}
    assert all(served.get(f"small/{index}")[0] == 200 for index in range(9))
    assert served.post("rows", {"scope": "test"})[0] == 400
    assert "no embeddings" in served.post("similar", {"index": 0, "count": 3})[1]["error"]


def test_one_window_labels_at_a_time(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    click = {"number": 1, "do": "skip", "index": served.labeling.indices[0]}
    assert served.post("claim", {"window": "a"})[0] == 200
    assert served.post("claim", {"window": "b"})[0] == 409 and served.post("act", click | {"window": "b"})[0] == 409
    assert served.post("claim", {"window": "b", "take": True})[0] == 200
    assert served.post("act", click | {"window": "a"})[0] == 409 and served.labeling.skipped == 0
    assert served.post("act", click | {"window": "b"})[0] == 200 and served.labeling.skipped == 1
    served.post("release", {"window": "a"})
    assert served.post("claim", {"window": "c"})[0] == 409
    served.post("release", {"window": "b"})
    assert served.post("claim", {"window": "c"})[0] == 200


def test_what_can_not_be_saved_is_told_and_not_pretended(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    index = served.labeling.indices[0]
    message = {"window": "a", "number": 1, "do": "label", "index": index, "label": "cat"}
    (run / "labels").write_text("a file is in the way")
    status, answer = served.post("act", message)
    assert status == 507 and "labels" in answer["error"] and served.labeling.labeled == 0
    (run / "labels").unlink()
    assert served.post("act", message)[0] == 200
    assert table(served.labeling.file)["label"][0] == "cat"


def test_a_label_file_is_for_one_process_and_keeps_its_address(tmp_path: Path, run: Path) -> None:
    file, desk = tmp_path / "labels/x.csv", LabelingState(opened(run), {})
    with label_lock(file) as lock:
        with _start_server(desk, lock, 0) as server:
            lock.remember(server.server_port, server.token)
            port, token = server.server_port, server.token
            with pytest.raises(UserError, match=f"Port {port} is used by another program"):
                Server(desk, "t", port)
        with pytest.raises(UserError, match=rf"another process \({os.getpid()} on "), label_lock(file):
            pass
        assert (tmp_path / "labels/.x.csv.lock").stat().st_mode & 0o077 == 0
    with label_lock(file) as lock, _start_server(desk, lock, 0) as server:
        assert (server.server_port, server.token) == (port, token)
    with socket.create_server(("127.0.0.1", 0)) as other, label_lock(file) as lock:
        lock.port = other.getsockname()[1]
        with _start_server(desk, lock, 0) as server:
            # The token of a port that somebody else has now is given up.
            assert server.server_port != lock.port and server.token != token
        with pytest.raises(UserError, match="is used by another program"):
            _start_server(desk, lock, lock.port)
    with label_lock(tmp_path / "labels/y.csv") as lock:
        assert isinstance(lock, LabelLock) and (lock.port, lock.token) == (0, "")


def test_a_lock_of_others_says_no_address(tmp_path: Path) -> None:
    """A folder that somebody hands over may hold a lock with a token that they know."""
    file, planted = tmp_path / "labels/x.csv", tmp_path / "labels/.x.csv.lock"
    planted.parent.mkdir()
    planted.write_text(json.dumps({"process": 1, "port": 4711, "token": "a" * 32}))
    planted.chmod(0o644)
    with label_lock(file) as lock:
        assert (lock.port, lock.token) == (0, "")
        token = new_token()
        lock.remember(4712, token)
        assert token not in planted.read_text() and "token" not in planted.read_text()
        assert planted.stat().st_mode & 0o077 == 0 and lock.place.stat().st_mode & 0o077 == 0
        assert not lock.place.is_relative_to(tmp_path / "labels")


# ---- the process


def started(run: Path, *arguments: object) -> tuple[subprocess.Popen[str], str, int]:
    running = process("label", "--run", run, "--no-browser", *arguments, cwd=run.parent.parent)
    assert running.stderr is not None
    for line in running.stderr:
        if match := re.search(r"http://127.0.0.1:(\d+)/([\w-]+)/", line):
            return running, match[2], int(match[1])
    raise AssertionError(running.communicate())


def test_killed_it_goes_on_and_ends_with_a_summary(run: Path, initpools: Initpools) -> None:
    indices = table(next(run.glob("pool/*/items.csv")))["index"].tolist()
    running, token, port = started(run, "--classes", "cat,dog")
    message = {"window": "a", "number": 1, "do": "label", "index": indices[0], "label": "cat"}
    assert act(port, token, message) == 200
    refused = initpools("label", "--run", run)
    assert refused.code == 2 and "another process" in refused.err and "--output" in refused.err
    running.kill()
    running.communicate()
    assert table(run / "labels/random-b6-s0.csv")["label"].tolist() == ["cat", *[""] * 5]
    running, again, _ = started(run)
    # The window that was open all the time goes on.
    assert again == token and act(port, token, message | {"number": 2, "do": "skip", "index": indices[1]}) == 200
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0 and out.strip().endswith("labels/random-b6-s0.csv")
    assert "1 labeled, 1 skipped, 4 left" in err and "initpools label --batch random-b6-s0" in err


def test_ten_thousand_images_are_quick(tmp_path: Path) -> None:
    n = 10_000
    items = pd.DataFrame({"index": range(n), "path": "", "split": "train", "sha256": "x"})
    split = Split(np.zeros((n, 2, 2, 1), np.uint8), None, [""] * n)
    data = Dataset(DatasetSpec("many"), (), {"train": split}, items, np.ones(n, bool), None)
    vocabulary = ClassList((), ["cat"], tmp_path / "classes.txt")
    labeling = LabelingSession("many", data, list(range(n)), vocabulary, tmp_path / "many.csv", Reporter(), {})
    desk = LabelingState(labeling, {})
    start = time.process_time()
    for order in range(5):
        desk.act({"window": "a", "number": order + 1, "do": "label", "index": order, "label": "cat"})
    assert (time.process_time() - start) / 5 < 0.25
    assert table(labeling.file)["label"].tolist()[:6] == ["cat"] * 5 + [""]


def test_a_page_that_stays_open_keeps_the_last_actions_alone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_UNDONE", 3)
    labeling = opened(run)
    for image in labeling.indices[:5]:
        labeling.label([image], "cat")
    undone = [labeling.undo() for _ in range(4)]
    assert undone == [[image] for image in labeling.indices[4:1:-1]] + [[]] and labeling.labeled == 2


# ---- suggestions, copies, conflicts


def predicted(labeling: LabelingSession, *audit: int) -> LabelingSession:
    """Give a session the predictions of a round, without one: every image is a cat."""
    labeling.last = LastRound(1, suggestions={index: Suggestion("cat", 0.87654) for index in range(9)})
    labeling.audit = frozenset(audit)
    return labeling


def test_suggestions_that_were_shown_are_recorded_and_audit_images_have_none(run: Path, serve: Serve) -> None:
    labeling = opened(run)
    first, second, third, fourth = labeling.indices[:4]
    served = serve(predicted(labeling, second))
    suggestions = served.post("claim", {"window": "a"})[1]["suggestions"]
    assert suggestions[str(first)] == ["cat", 0.8765] and str(second) not in suggestions
    rows = served.post("rows", {"scope": "all"})[1]
    assert [row for row, label in zip(rows["index"], rows["predicted"], strict=True) if not label] == [second]
    for number, (index, label, is_shown) in enumerate(
        [(first, "dog", True), (second, "dog", True), (third, "cat", False)], 1
    ):
        message = {
            "window": "a",
            "number": number,
            "do": "label",
            "index": index,
            "label": label,
            "suggested": is_shown,
        }
        assert served.post("act", message | {"seconds": 2.04})[0] == 200
    message = {"window": "a", "number": 4, "do": "skip", "index": fourth, "suggested": True, "seconds": 1}
    served.post("act", message)
    served.post("act", message | {"number": 5, "seconds": 0.5})
    label_rows = table(labeling.file).iloc[:4]
    assert label_rows["suggested"].tolist() == ["cat", "", "", "cat"]
    assert label_rows["confidence"].astype(str).tolist() == ["0.8765", "", "", "0.8765"]
    assert label_rows["seconds"].astype(str).tolist() == ["2.0", "2.0", "2.0", "1.5"]
    assert label_rows["origin"].tolist() == ["batch", "audit", "batch", "batch"]


def test_two_programs_that_label_one_image_are_a_conflict_with_both_labels(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    labeling, rows = served.labeling, served.labeling.indices
    message = {"window": "a", "number": 1, "do": "label", "images": rows[:3], "label": "cat"}
    served.post("act", message)
    label_rows = table(labeling.file)
    label_rows["label"] = ["dog", "", "cat", "", "dog", ""]
    label_rows.to_csv(labeling.file, index=False)
    # A label of this page stays where the other program has none; what only the other program changed is taken.
    answer = served.post("act", message | {"number": 2, "images": [rows[4]], "label": "bird"})[1]
    assert answer["reread"] and [each[0] for each in answer["conflicts"]] == [rows[0], rows[1], rows[4]]
    assert [each[2:] for each in answer["conflicts"]] == [
        [["cat", False], ["dog", False], "theirs"],
        [["cat", False], ["", False], "yours"],
        [["bird", False], ["dog", False], "yours"],
    ]
    assert table(labeling.file)["label"].tolist() == ["dog", "cat", "cat", "", "bird", ""]
    answer = served.post("act", message | {"number": 3, "images": rows[:2]})[1]
    assert [each[0] for each in answer["conflicts"]] == [rows[4]]
    assert table(labeling.file)["label"].tolist()[:2] == ["cat", "cat"]


def test_a_label_for_all_exact_copies_is_one_action(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    first, second = served.labeling.indices[:2]
    items = served.labeling.data.items
    items.loc[items["index"] == second, "sha256"] = items["sha256"][first]
    served.server.state.images._context.data.items["sha256"] = items["sha256"]  # type: ignore[union-attr]
    assert served.post("claim", {"window": "a"})[1]["copies"] == {str(first): 1, str(second): 1}
    message = {"window": "a", "number": 1, "do": "label", "index": first, "label": "cat", "copies": True}
    assert [each[0] for each in served.post("act", message)[1]["items"]] == [first, second]
    served.post("act", {"window": "a", "number": 2, "do": "undo"})
    assert served.labeling.labeled == 0


def test_an_image_that_was_changed_is_said(run: Path, serve: Serve) -> None:
    served = serve(opened(run))
    first, second = served.labeling.indices[:2]
    photo = Path("photos") / served.labeling.paths[0]
    photo.write_bytes(photo.read_bytes() + b"\0")
    assert served.labeling.paths[0] in served.post("look", {"index": first})[1]["problem"]
    assert served.post("look", {"index": second})[1]["problem"] == ""


def test_a_full_disk_keeps_the_label_unsaved_and_the_file_whole(
    run: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(opened(run))
    first, second = served.labeling.indices[:2]
    message = {"window": "a", "number": 1, "do": "label", "index": first, "label": "cat"}
    served.post("act", message)
    before = served.labeling.file.read_bytes()
    synced = os.fsync

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    status, answer = served.post("act", message | {"number": 2, "index": second})
    assert status == 507 and "full" in answer["error"] and served.labeling.file.read_bytes() == before
    assert answers(served.labeling)[1] == ("", False) and len([*served.labeling.file.parent.glob(".*csv.*")]) == 0
    monkeypatch.setattr(os, "fsync", synced)
    assert served.post("act", message | {"number": 2, "index": second})[0] == 200
    assert [label for label, _ in answers(opened(run))[:2]] == ["cat", "cat"]
