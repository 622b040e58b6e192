"""Requests to the labeling page."""

from __future__ import annotations

import http.client
import json
from typing import Any


def act(port: int, token: str, message: dict[str, Any]) -> int:
    """Send an action of a window, and return the status of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
    connection.request("POST", f"/{token}/act", json.dumps(message), headers)
    status = connection.getresponse().status
    connection.close()
    return status
