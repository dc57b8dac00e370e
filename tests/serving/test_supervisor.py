"""A service and whatever may be done to it from outside: nothing acknowledged is lost, nothing counts twice, it comes
back by itself, and no client is ever told to give up."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from running import Load, Running, ended, until

from serving.processes import stamped

pytestmark = pytest.mark.ray

HOST, FOLLOWERS, REPLICA, HAPROXY = "ray::Hosted", "ray::Followed", "ray::ServeReplica", "bin/haproxy"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all that leaves it running."""
    with Running(tmp_path_factory.mktemp("up") / "data") as running:
        yield running


def test_the_terminal_says_where_it_is_and_what_to_copy(service: Running) -> None:
    until(lambda: "Ctrl-C" in service.output(), 10, "the announcement")
    said = service.output()
    assert f"http://127.0.0.1:{service.port}" in said
    assert str(service.data / "keys.toml") in said
    assert len([line for line in said.splitlines() if line.startswith("curl ")]) == 3
    assert stat.S_IMODE((service.data / "keys.toml").stat().st_mode) == 0o600


def test_what_does_not_listen_on_loopback_asks_for_the_token_of_this_run(service: Running) -> None:
    listening = _listening(service)
    assert len(listening) > 5
    elsewhere = [port for host, port in listening if host not in LOOPBACK]
    assert len(elsewhere) <= len(service.pids(REPLICA)), "Serve gives each replica one such port"
    for port in elsewhere:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/ray.serve.ASGIService/HandleRequest")(b"", timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]


def test_a_second_supervisor_of_the_folder_is_refused_by_name(service: Running) -> None:
    second = Running(service.data)
    second._said = service.data.parent / "second.out"
    second.launch()
    assert second.process.wait(30) == 1
    assert str(service.process.pid) in second.output()
    assert service.call("GET", "/readyz").status == 200


@pytest.mark.parametrize("victim", [REPLICA, FOLLOWERS, HOST, HAPROXY])
def test_killing_one_process_loses_nothing(service: Running, victim: str) -> None:
    with Load(service, f"kill-{victim.rpartition(':')[2].rpartition('/')[2].lower()}") as load:
        load.goes_on(20)
        pid = service.signal(victim, signal.SIGKILL)
        assert ended(pid)
        load.goes_on(60)
        until(lambda: bool(service.pids(victim)), 60, f"another {victim}")
        until(lambda: service.call("GET", "/readyz").status == 200, 60, "ready again")
    load.check()
    assert "equal" in service.verified()


def test_a_stopped_host_is_replaced_and_reads_go_on_meanwhile(service: Running) -> None:
    with Load(service, "stopped") as load:
        load.goes_on(20)
        pid = service.signal(HOST, signal.SIGSTOP)
        seen = service.call("GET", "/v1/profiles/stopped-0")
        assert seen.status == 200
        until(lambda: service.call("GET", "/v1/profiles/stopped-0").json["state_age_ms"] != 0, 10, "an age is told")
        assert ended(pid, 30)
        load.goes_on(30)
    assert load.statuses[503] > 0
    load.check()
    assert "equal" in service.verified()


@pytest.mark.parametrize("victim", ["raylet/raylet", "gcs/gcs_server"])
def test_when_the_core_of_ray_dies_the_service_starts_anew(service: Running, victim: str) -> None:
    before = service.pids(HOST)
    with Load(service, victim.partition("/")[0]) as load:
        load.goes_on(20)
        service.signal(victim, signal.SIGKILL)
        until(lambda: service.pids(HOST) not in ([], before), 120, "a new host")
        load.goes_on(120)
    load.check()
    assert service.process.poll() is None
    assert "equal" in service.verified()


def test_killing_the_supervisor_ends_everything_and_a_start_brings_it_back(service: Running) -> None:
    with Load(service, "up") as load:
        load.goes_on(20)
        below, (raylet,) = stamped(service.stamp), service.pids("raylet/raylet")
        service.process.kill()
        service.process.wait()
        assert ended(raylet)
        service.start()
        assert all(ended(pid) for pid in below)
        load.goes_on(60)
    load.check()
    assert "equal" in service.verified()


def test_killing_everything_at_once_loses_nothing_acknowledged(service: Running) -> None:
    with Load(service, "everything") as load:
        load.goes_on(20, batches=20)
        service.kill_everything()
        service.start()
        load.goes_on(60)
    load.check()
    assert "equal" in service.verified()


def test_two_services_live_side_by_side(service: Running, tmp_path: Path) -> None:
    with Running(tmp_path / "other") as other:
        with Load(service, "one") as one, Load(other, "two") as two:
            one.goes_on(30)
            two.goes_on(30)
        one.check()
        two.check()
        assert other.call("GET", "/v1/profiles/one-0").json["version"] == 0
        other.stop(signal.SIGINT)
        assert stamped(other.stamp) == set()
    assert service.call("GET", "/readyz").status == 200


def test_stopping_leaves_no_process_and_a_verified_folder(service: Running) -> None:
    service.stop()
    assert service.process.returncode == 0
    assert stamped(service.stamp) == set()
    assert "equal" in service.verified()
    assert not (service.data / "run" / "scratch").exists()


LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
"""127.0.0.1, ::ffff:127.0.0.1 and ::1 as the kernel writes them."""


def _listening(service: Running) -> list[tuple[str, int]]:
    """Every (address, port) that any process of the service listens on."""
    own = {inode for pid in stamped(service.stamp) for inode in _sockets(pid)}
    found: set[tuple[str, int]] = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            host, _, port = words[1].rpartition(":")
            if words[3] == "0A" and words[9] in own:
                found.add((host, int(port, 16)))
    return sorted(found)


def _sockets(pid: int) -> set[str]:
    """Inodes of the process's sockets."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found
