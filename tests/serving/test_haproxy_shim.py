from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from serving.haproxy_shim import UNAVAILABLE, mend
from serving.ray_environment import haproxy_binary

CONFIG = """global
    log 127.0.0.1:514 local0 info
    maxconn 64
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    log global
    errorfile 502 /tmp/500.http
    errorfile 503 /tmp/500.http
    errorfile 504 /tmp/500.http
frontend prometheus
    bind :9101
    http-request use-service prometheus-exporter if { path /metrics }
    no log
frontend http_frontend
    bind 127.0.0.1:8000
    log /tmp/metrics.sock len 8192 format rfc5424 local1 debug
    acl is_app path_beg /
    use_backend app if is_app
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path \\'%[path]\\' not found."
backend app
    option httpchk GET /-/healthz
    server one 127.0.0.1:30001 check
    server SERVE_PROXY 127.0.0.1:8500 check backup
listen stats
  bind *:8404
  stats enable
"""


def mended(tmp_path: Path, front: str = "0.0.0.0") -> str:
    page = tmp_path / "503.http"
    page.write_bytes(UNAVAILABLE)
    return mend(CONFIG, front, str(page))


def test_an_unknown_route_is_unavailable_and_never_missing(tmp_path: Path) -> None:
    text = mended(tmp_path)
    assert "status 404" not in text
    assert "http-request return status 503" in text


def test_its_own_503_has_the_shape_every_error_has() -> None:
    head, body = UNAVAILABLE.split(b"\r\n\r\n")
    assert set(json.loads(body)) == {"code", "message"}, "tracking SDKs index both"
    assert b"Content-Length: %d" % len(body) in head


def test_only_the_front_leaves_loopback(tmp_path: Path) -> None:
    binds = [line.split()[1] for line in mended(tmp_path).splitlines() if line.split()[:1] == ["bind"]]
    assert binds == ["127.0.0.1:9101", "0.0.0.0:8000", "127.0.0.1:8404"]


def test_requests_go_to_replicas_only(tmp_path: Path) -> None:
    servers = [line.split()[1] for line in mended(tmp_path).splitlines() if line.split()[:1] == ["server"]]
    assert servers == ["one"]


def test_no_request_sends_a_log_datagram(tmp_path: Path) -> None:
    assert not any(line.split()[:1] == ["log"] for line in mended(tmp_path).splitlines())


def test_the_result_is_a_configuration_haproxy_takes(tmp_path: Path) -> None:
    binary = haproxy_binary({})
    if not shutil.which(binary):
        pytest.skip("HAProxy comes with ray[serve] on Linux only")
    config = tmp_path / "haproxy.cfg"
    config.write_text(mended(tmp_path))
    checked = subprocess.run([binary, "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_mending_twice_changes_nothing_more(tmp_path: Path) -> None:
    once = mended(tmp_path)
    assert mend(once, "0.0.0.0", str(tmp_path / "503.http")) == once


def test_the_answer_of_haproxy_itself_tells_clients_to_come_back() -> None:
    head, _, body = UNAVAILABLE.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in head
    assert f"Content-Length: {len(body)}".encode() in head
