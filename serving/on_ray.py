"""The driver: Ray, the hosts, the followers, the replicas, and the loop that keeps them.

Started by the supervisor with the environment of `serving.ray_environment`; dies with it. It holds nothing: when Ray's
own core (GCS, raylet) dies the driver ends, and the supervisor starts everything anew.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import select
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import ray
from ray import serve

from actors.directory import Directory
from actors.keeper import Keeper, Watched
from actors.locking import is_alive
from actors.on_ray import NAMESPACE, STATUS_S, Hosts, RayHost, answered
from actors.outbox import Append
from actors.store import Store
from events.clock import SystemClock, millis
from events.errors import EverfoldError
from serving.follower_host import FOLDER, Followed, appending
from serving.http import Receive, Scope, Send
from serving.opening import open_host
from serving.processes import children, die_with, kill
from serving.retrain_schedule import RetrainSchedule, start_retrain
from serving.run import Run
from serving.settings import Settings
from training.registry import Registry

FOLLOWERS_SILENT_S: Final = 30.0
"""Followers may fold a large batch for seconds, and nobody waits for them as for a host."""
CLOSE_S: Final = 2.0
"""What hosts and followers have to close in order. Nothing acknowledged depends on it."""
OBJECT_STORE_BYTES: Final = 128 << 20
"""Events and answers travel inline; the store is for retraining's arrays."""
TEMPFAIL: Final = 75
"""Exit code: start everything again."""
_CORE: Final = ("gcs_server", "raylet")
_IDLE: Final = ("dashboard.py", "monitor.py", "log_monitor.py")
"""What ``ray.init`` starts and nothing here uses: the API server without its dashboard (left for usage statistics,
which are off), the autoscaler of a cluster of one, the forwarder of worker logs to a driver that does not want them.
280 MB together."""

log = logging.getLogger("everfold.driver")


FOLLOWERS: Final = ray.remote(Followed)


class RayFollowers:
    """`serving.local_backend.Followers` over Ray."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def status(self) -> bytes:
        return await answered(self._handle.status.remote(), STATUS_S, "the followers' status")


@serve.deployment(
    max_ongoing_requests=1000,
    max_queued_requests=2000,
    health_check_period_s=5,
    logging_config={"enable_access_log": False, "log_level": "WARNING"},  # the application has its own request log
)
@serve.ingress()
class Door:
    """A replica: the ASGI application over files of this machine and the hosts' handles."""

    def __init__(self, run: Run, hosts: Hosts | None, followers: Any) -> None:
        self._run = run
        self._hosts = hosts
        self._followers = followers

    def __serve_build_asgi_app__(self) -> Any:
        if self._hosts is None:
            module, _, name = self._run.app.partition(":")
            return _Lifespan(getattr(import_module(module), name)())
        from serving.door import open_app  # in replicas only: the driver needs nothing of it

        store = Store.open(Path(self._run.data))
        return open_app(store, RayHost(store, self._hosts), RayFollowers(self._followers), demo=self._run.demo)


class _Lifespan:
    """Answers the server's lifespan events for an application that does not."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        message: dict[str, Any] = {}
        while message.get("type") != "lifespan.shutdown":
            message = dict(await receive())
            await send({"type": f"{message['type']}.complete"})


class Service:
    """What runs on Ray."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._hosts: Hosts | None = None
        self._followers: Any = None
        self._keeper = Keeper([])

    def start(self) -> None:
        """Actors first: they open and replay while Serve starts."""
        run = self._run
        ray.init(
            address="local",
            namespace=NAMESPACE,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=f"{run.scratch}/r",
            _metrics_export_port=run.ports.ray_metrics,
        )
        if not run.app:
            self._start_actors()
        serve.start(http_options={"host": "127.0.0.1", "port": run.ports.front})
        door: Any = Door
        options = door.options(num_replicas=run.replicas, ray_actor_options={"num_cpus": 0})
        serve.run(options.bind(run, self._hosts, self._followers), name="everfold", route_prefix="/")
        kill(children(_IDLE))

    def _start_actors(self) -> None:
        data = self._run.data
        store = Store.open(Path(data))
        directory = Directory.spread(store.manifest.partitions, 1, store.manifest.pinned)
        hosts = self._hosts = Hosts.start(directory, functools.partial(open_host, data))
        followers = self._followers = FOLLOWERS.options(
            name="followers", num_cpus=0, max_restarts=-1, enable_task_events=False
        ).remote(data, functools.partial(_connect, data, hosts))
        watched = [
            Watched(name, [store.folder(n) for n in directory.owned_by(name)], functools.partial(_again, handle))
            for name, handle in hosts.handles.items()
        ]
        folder = store.path / FOLDER
        watched.append(Watched("followers", [folder], functools.partial(_again, followers), FOLLOWERS_SILENT_S))
        self._keeper = Keeper(watched)

    def check(self) -> None:
        for done in self._keeper.check(time.monotonic()):
            log.warning(done)

    def stop(self) -> None:
        """Requests under way are answered, then hosts and followers close. Ray itself ends with this process."""
        shut_down: Any = serve.shutdown
        shut_down()
        closing = [one.close.remote() for one in (self._hosts.all() if self._hosts else [])]
        if self._followers is not None:
            closing.append(self._followers.close.remote())
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)


def _connect(data: str, hosts: Hosts) -> Append:
    """The followers' way into the partitions; called in their process, on its event loop."""
    return appending(RayHost(Store.open(Path(data)), hosts), asyncio.get_running_loop())


def _again(handle: Any) -> None:
    ray.kill(handle, no_restart=False)


def main() -> None:
    """The driver's life. Exits 0 after SIGTERM, `TEMPFAIL` when Ray's core ended."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    run = Run.read(Path(sys.argv[1]))
    die_with(run.parent)
    service = Service(run)
    service.start()
    schedule = _schedule(run)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda *_: None)  # after ray.init, which puts a handler of its own there
    core = {os.pidfd_open(pid): pid for pid in children(_CORE)}
    log.info("service started, Ray's core are processes %s", sorted(core.values()))
    while True:
        ready = select.select([woken, *core], [], [], 1.0)[0]
        if woken in ready:
            service.stop()
            os._exit(0)
        if ready:
            log.error("Ray's process %s ended: starting over", core[ready[0]])
            os._exit(TEMPFAIL)
        try:
            service.check()
        except (EverfoldError, OSError, ray.exceptions.RayError):
            log.exception("keeping hosts alive")
        if schedule is not None:
            schedule.check(millis(SystemClock().now()))


def _schedule(run: Run) -> RetrainSchedule | None:
    """Retraining by the service itself. Under the demo nobody answers yet, so nothing is waited for: the first model
    serves as soon as the gate lets it pass."""
    if run.app:
        return None
    data = Path(run.data)
    Registry(data).sweep(SystemClock().now() / 1e6, is_alive)
    command = [sys.executable, "-m", "serving.cli", "retrain", "--data", run.data]
    command += ["--service", f"http://127.0.0.1:{run.ports.front}", *(["--shadow-hours", "0"] if run.demo else [])]
    rules = Settings.load(data, os.environ).retrain
    return RetrainSchedule(data, rules, functools.partial(start_retrain, command, data / "run" / "retrain.log"))
