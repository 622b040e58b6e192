"""Rows of HTTP requests to the labeling page."""

from __future__ import annotations

import json
from dataclasses import dataclass

TOKEN = "secret"


@dataclass(frozen=True)
class Request:
    """A request as it is sent, and the first line of the answer; an empty one: the connection is closed."""

    name: str
    content: bytes
    status: str


def post(body: bytes, path: str = "act", length: str | None = None, **headers: str) -> bytes:
    sent = {
        "Host": "127.0.0.1",
        "Origin": "http://127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)) if length is None else length,
        "Connection": "close",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"POST /{TOKEN}/{path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value != "-")]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(path: str, **headers: str) -> bytes:
    sent = {"Host": "127.0.0.1", "Connection": "close"} | headers
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value != "-")]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


GOOD = {"window": "a", "number": 1, "do": "label", "index": 0, "label": "cat"}
#: Bodies of an action that the page does not send.
BODIES = {
    "nothing": b"",
    "a list": b"[]",
    "a number": b"3",
    "half": json.dumps(GOOD).encode()[:20],
    "depth": b"[" * 100_000,
    "latin-1": b'{"window": "\xe9"}',
    "NUL": b"\0" * 10,
    "a million digits": b'{"number": ' + b"1" * 1_000_000 + b"}",
    "UTF-7": "+ADw-".encode("ascii"),
}
#: Values of an action that the page does not send.
CHANGES: dict[str, dict[str, object]] = {
    "a window that is a list": {"window": ["a"]},
    "an empty window": {"window": ""},
    "a window of half a surrogate pair": {"window": "\ud800"},
    "a long window": {"window": "x" * 2000},
    "a number that is text": {"number": "1"},
    "a number that is a truth value": {"number": True},
    "a fraction": {"number": 1.5},
    "an unknown action": {"do": "format"},
    "an action that is a list": {"do": []},
    "an index that is text": {"index": "0"},
    "no images": {"images": []},
    "images that are none": {"images": "0"},
    "images with a truth value": {"images": [0, True]},
    "a label that is a number": {"label": 3},
    "a label of half a surrogate pair": {"label": "\udfff"},
    "a long label": {"label": "x" * 2000},
    "negative seconds": {"seconds": -1},
    "seconds that are no number": {"seconds": float("nan")},
    "infinite seconds": {"seconds": float("inf")},
    "seconds of four hundred digits": {"seconds": 10**400},
    "seconds that are text": {"seconds": "1"},
}
REQUESTS = [
    *(Request(f"body: {kind}", post(body), "400") for kind, body in BODIES.items()),
    *(Request(f"value: {kind}", post(json.dumps(GOOD | change).encode()), "400") for kind, change in CHANGES.items()),
    *(
        Request(f"length: {length:.20}", post(b"{}", length=length), "400")
        for length in ("-", "x", "-1", "1e3", "٣".encode().decode("latin-1"), "9" * 18, "9" * 5000, "0x10", " ")
    ),
    Request("an image of a hundred digits", post(json.dumps(GOOD | {"index": 10**100}).encode()), "422"),
    Request("a negative image", post(json.dumps(GOOD | {"index": -1}).encode()), "422"),
    Request("another type", post(b"{}", Content_Type="text/plain"), "400"),
    Request("a form", post(b"a=1", Content_Type="application/x-www-form-urlencoded"), "400"),
    Request("no origin", post(b"{}", Origin="-"), "403"),
    Request("another origin", post(b"{}", Origin="http://evil.example"), "403"),
    Request("another host", post(b"{}", Host="evil.example"), "403"),
    Request("a host that is none", post(b"{}", Host="[::1"), "403"),
    Request("another site", post(b"{}", **{"Sec-Fetch-Site": "cross-site"}), "403"),
    Request("an unknown message", post(json.dumps(GOOD).encode(), path="shell"), "400"),
    Request("a scope that is a list", post(b'{"scope": []}', path="rows"), "400"),
    Request("a scope that is a table", post(b'{"scope": {}}', path="rows"), "400"),
    Request("a column that is unknown", post(b'{"compute": ["x"]}', path="rows"), "400"),
    Request("columns that are numbers", post(b'{"compute": [1]}', path="rows"), "400"),
    Request("a count of a hundred digits", post(b'{"index": 0, "count": 1%s}' % (b"0" * 99), path="similar"), "400"),
    Request("a count of zero", post(b'{"index": 0, "count": 0}', path="similar"), "400"),
    Request("a change that is none", post(b'{"window": "a", "do": [], "from": "a", "to": "b"}', path="classes"), "400"),
    Request(
        "classes that are numbers", post(b'{"window": "a", "do": "rename", "from": 1, "to": 2}', path="classes"), "400"
    ),
    Request("another token", get("/wrong/"), "403"),
    Request("no token", get("/"), "403"),
    Request("no path", get("*"), "403"),
    Request("an address", get(f"http://evil.example/{TOKEN}/"), "403"),
    Request("two hosts", get(f"/{TOKEN}/").replace(b"\r\n\r\n", b"\r\nHost: localhost\r\n\r\n"), "403"),
    Request("no host", get(f"/{TOKEN}/", Host="-"), "403"),
    Request("up", get(f"/{TOKEN}/../../etc/passwd"), "404"),
    Request("up, encoded", get(f"/{TOKEN}/%2e%2e/%2e%2e/etc/passwd"), "404"),
    Request("a file of the package", get(f"/{TOKEN}/server.py"), "404"),
    Request("a template", get(f"/{TOKEN}/templates/page.html.j2"), "404"),
    Request("an image that is text", get(f"/{TOKEN}/image/x"), "404"),
    Request("an image that is negative", get(f"/{TOKEN}/image/-1"), "404"),
    Request("an image of five thousand digits", get(f"/{TOKEN}/image/{'9' * 5000}"), "404"),
    Request("an image outside", get(f"/{TOKEN}/image/999999"), "404"),
    Request("an image with other digits", get(f"/{TOKEN}/image/\xb2"), "404"),
    Request("another method", get(f"/{TOKEN}/").replace(b"GET", b"DELETE"), "501"),
    Request("no method", b"\r\n\r\n", ""),
    Request("noise", bytes(range(256)) + b"\r\n\r\n", "400"),
    Request("a long line", get(f"/{TOKEN}/{'x' * 70_000}"), "414"),
    Request("many headers", get(f"/{TOKEN}/", **{f"X-{at}": "1" for at in range(200)}), "431"),
    Request("a long header", get(f"/{TOKEN}/", X="1" * 70_000), "431"),
]
