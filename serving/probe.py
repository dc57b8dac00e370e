"""One question to a service over loopback: is it ready?"""

from __future__ import annotations

import http.client


def is_ready(port: int, timeout_s: float = 0.5) -> bool:
    """Whether ``/readyz`` answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
