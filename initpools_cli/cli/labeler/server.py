"""Server of the labeling page, for this machine only and with a token in its address."""

from __future__ import annotations

import errno
import hmac
import json
import socketserver
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from initpools_cli.cli.labeler.messages import MalformedMessage
from initpools_cli.cli.labeler.state import LabelingState, WindowInUse
from initpools_cli.core.errors import UserError
from initpools_cli.figures.html import environment
from initpools_cli.labeling.classes import InvalidClass
from initpools_cli.reporting.image_bytes import original, small

LOOPBACK = "127.0.0.1"
#: Accepted host names; another name may be an attack from outside (DNS rebinding).
HOSTS = {LOOPBACK, "localhost", "::1"}
#: The files of the page beside its template, and their types.
FILES = {
    "page.css": "text/css",
    "zoom.css": "text/css",
    "classes.css": "text/css",
    "page.js": "text/javascript",
    "change_classes.js": "text/javascript",
    "class_buttons.js": "text/javascript",
    "clock.js": "text/javascript",
    "conflicts.js": "text/javascript",
    "suggestion.js": "text/javascript",
    "zoom.js": "text/javascript",
    "grid.css": "text/css",
    "grid.js": "text/javascript",
    "grid_controls.js": "text/javascript",
    "grid_layout.js": "text/javascript",
    "grid_pointer.js": "text/javascript",
    "grid_rows.js": "text/javascript",
    "grid_selection.js": "text/javascript",
    "grid_tiles.js": "text/javascript",
    "viewer.js": "text/javascript",
    "saving.js": "text/javascript",
    "filmstrip.js": "text/javascript",
    "keys.js": "text/javascript",
}
#: Side of the images in the filmstrip and the grid, pixels.
SMALL = 224
#: Largest message of the page, bytes: an action on 100,000 images.
LONGEST = 1 << 20
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that does not come from the page."""


class Server(ThreadingHTTPServer):
    """Server of one batch.

    Parameters
    ----------
    state : LabelingState
    token : str
        The secret part of the address.
    port : int
        0: any free port.

    Raises
    ------
    UserError
        The port is in use, or this user may not use it.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, state: LabelingState, token: str, port: int) -> None:
        self.state, self.token = state, token
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is used by another program" if error.errno == errno.EADDRINUSE else "needs more permissions"
            raise UserError(
                f"Port {port} {why}.", "Choose another --port, or leave out --port for a free one.", port
            ) from None

    def server_bind(self) -> None:
        """Bind without a DNS lookup, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    @property
    def address(self) -> str:
        """The address to open."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore windows that are closed during a request."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    # The body is sent at once, and not after the browser has confirmed the headers, up to 40 ms later.
    disable_nagle_algorithm = True
    server_version, sys_version = "initpools", ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Print no log."""

    def _answer(self, respond: Callable[[], None]) -> None:
        try:
            self._require_own()
            respond()
        except Refused as error:
            self.close_connection = True
            self._send_json({"error": str(error)}, HTTPStatus.FORBIDDEN)
        except WindowInUse:
            self._send_json({"error": "Another window is labeling this batch."}, HTTPStatus.CONFLICT)
        except MalformedMessage as error:
            self.close_connection = True
            self._send_json({"error": f"The page does not send such a message ({error})."}, HTTPStatus.BAD_REQUEST)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:
            traceback.print_exception(error)
            self._send_json({"error": "This is a bug in initpools; see the terminal for details."}, HTTPStatus(500))

    def _require_own(self) -> None:
        """Refuse requests from other sites, through another host name, or without the token."""
        hosts, origin = self.headers.get_all("Host", []), self.headers.get("Origin")
        if len(hosts) != 1 or _name_of(hosts[0]) not in HOSTS:
            raise Refused("This page is available on this machine only.")
        if origin != f"http://{hosts[0]}" and (origin is not None or self.command == "POST"):
            raise Refused("Requests from other pages are refused.")
        site = self.headers.get("Sec-Fetch-Site", "none")
        is_navigation = self.command == "GET" and self.headers.get("Sec-Fetch-Mode") == "navigate"
        if site not in ("same-origin", "none") and not is_navigation:
            raise Refused("Requests from other pages are refused.")
        token = self.path.split("/")[1] if self.path.startswith("/") else ""
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused("Open the address that `initpools label` printed.")

    @property
    def _route(self) -> str:
        return urlsplit(self.path).path.partition(self.server.token)[2].removeprefix("/")

    def _get(self) -> None:
        kind, _, number = self._route.partition("/")
        if self.path == f"/{self.server.token}":
            # The page names its files relative to its own address.
            self._send(b"", "text/plain", HTTPStatus.PERMANENT_REDIRECT, {"Location": f"/{self.server.token}/"})
        elif self._route == "":
            page = environment("initpools_cli.cli.labeler").get_template("page.html.j2")
            self._send(page.render(name=self.server.state.labeling.name).encode(), "text/html; charset=utf-8")
        elif self._route in FILES:
            content = files("initpools_cli.cli.labeler").joinpath(self._route).read_bytes()
            self._send(content, f"{FILES[self._route]}; charset=utf-8")
        elif kind in ("image", "small"):
            self._send_picture(kind, number)
        else:
            self._send_json({"error": "Page not found."}, HTTPStatus.NOT_FOUND)

    def _send_picture(self, kind: str, number: str) -> None:
        labeling = self.server.state.labeling
        index = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else -1
        if not labeling.is_image(index):
            self._send_json({"error": "The data set does not contain this image."}, HTTPStatus.NOT_FOUND)
            return
        try:
            picture = original(labeling.data, index) if kind == "image" else small(labeling.data, index, SMALL)
        except UserError as error:
            self._send_json({"error": str(error)}, HTTPStatus.NOT_FOUND)
            return
        self._send(picture.content, picture.kind, headers={"Cache-Control": "private, max-age=600"})

    def _post(self) -> None:
        message = self._message()
        state = self.server.state
        actions = {
            "claim": state.claim,
            "act": state.act,
            "classes": state.classes,
            "look": state.look,
            "rows": state.rows,
            "similar": state.similar,
            "release": state.release,
        }
        if self._route not in actions:
            raise MalformedMessage(self._route)
        try:
            self._send_json(actions[self._route](message))
        except InvalidClass as error:
            self._send_json({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
        except UserError as error:
            # It could not be saved: the page shows the reason and tries again.
            self._send_json({"error": str(error)}, HTTPStatus.INSUFFICIENT_STORAGE)

    def _message(self) -> Mapping[str, Any]:
        length = self.headers.get("Content-Length", "")
        # Python refuses to read very long numbers.
        if not (length.isascii() and length.isdigit() and len(length) < 19 and int(length) <= LONGEST):
            raise MalformedMessage("its length")
        if self.headers.get_content_type() != "application/json":
            raise MalformedMessage("its type")
        try:
            message = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise MalformedMessage("its content") from None
        if not isinstance(message, dict):
            raise MalformedMessage("its content")
        return message

    def _send_json(self, payload: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(payload).encode(), "application/json", status)

    def _send(
        self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        fields = {"Content-Type": kind, "Content-Length": str(len(content)), **HEADERS, **(headers or {})}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _name_of(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
