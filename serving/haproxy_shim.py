"""Stands in for the HAProxy binary: mends the configuration Ray Serve wrote, then becomes HAProxy.

Ray starts what ``RAY_SERVE_HAPROXY_BINARY_PATH`` names with ``-db -f CONFIG ...``; the run's script there calls
`main`. What is mended, and why:

- Where no route is known (2 s at every start, 0.6 s after a proxy restart) the default backend answers 404, and SDKs
  drop events on 404. It becomes 503 with ``Retry-After``.
- Serve turns HAProxy's own 502, 503 and 504 into 500. They are all "again, with the same ids" here: 503.
- Requests go nowhere but to our replicas: the fallback to Serve's Python proxy (which answers 404 too) is taken out.
- Statistics and metrics listen on loopback instead of everywhere; only the front is opened by ``--host``.
- No syslog datagram per request.
- Serve watches every request for its client leaving, at the price of a task each; ours finish what they began anyway,
  and Serve has a header to say so. It also answers a second ``x-request-id`` beside the application's.
- When the process that started it ends, HAProxy is killed (it would keep the port and answer 500s).
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from serving.processes import die_with

_BODY = b'{"code":"starting","message":"no replica can answer right now: send it again, with the same ids"}'
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Type: application/json\r\n"
    b"Retry-After: 1\r\n"
    b"Cache-Control: no-store\r\n"
    b"Access-Control-Allow-Origin: *\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)
"""What HAProxy answers by itself; readable across origins, so that a browser's SDK sees a 503 and no network error."""


_HEADERS = (
    "    http-request set-header x-request-disconnect-disabled ?1",
    "    http-response set-header x-request-id %[res.hdr(x-request-id)] if { res.hdr_cnt(x-request-id) gt 1 }",
    "    http-response del-header server",
)


def mend(config: str, front: str, unavailable: str) -> str:
    """The configuration with the changes above. ``front``: host the front listens on; ``unavailable``: path of the
    file with the 503 answer.

    >>> print(mend("frontend prometheus\\n    bind :80\\nlisten stats\\n  bind *:9", "0.0.0.0", "/u"))
    frontend prometheus
        bind 127.0.0.1:80
    listen stats
      bind 127.0.0.1:9
    """
    section, lines = "", []
    for line in config.splitlines():
        if line in _HEADERS:
            continue
        if line and not line[0].isspace():
            section = line.strip()
        mended = _line(line, section, front, unavailable)
        if mended is not None:
            lines.append(mended)
    return "\n".join(lines) + ("\n" if config.endswith("\n") else "")


def _line(line: str, section: str, front: str, unavailable: str) -> str | None:
    words = line.split()
    if not words:
        return line
    if words[0] == "log":
        return None
    if words[0] == "bind":
        is_front = section == "frontend http_frontend"
        bound = re.sub(r"bind \S*:(\d+)", rf"bind {front if is_front else '127.0.0.1'}:\1", line)
        return "\n".join([bound, *_HEADERS]) if is_front else bound
    if words[0] == "errorfile":
        return f"    errorfile {words[1]} {unavailable}"
    if words[:4] == ["http-request", "return", "status", "404"] and section == "backend default_backend":
        return "    http-request return status 503 default-errorfiles"
    if words[0] == "server" and words[-1] == "backup":
        return None
    return line


def main(arguments: list[str]) -> None:
    """``FRONT HAPROXY FOLDER -- (what Ray passes)``; does not return."""
    front, haproxy, folder = arguments[:3]
    passed = arguments[4:]
    die_with(os.getppid())
    unavailable = Path(folder) / "503.http"
    if not unavailable.exists():
        _replace(unavailable, UNAVAILABLE)
    config = Path(passed[passed.index("-f") + 1])
    _replace(config, mend(config.read_text(), front, str(unavailable)).encode())
    os.execv(haproxy, [haproxy, *passed])  # the path of the configuration stays in the command line: Serve looks for it


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.rename(path)


if __name__ == "__main__":
    main(sys.argv[1:])
