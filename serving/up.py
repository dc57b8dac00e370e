"""``everfold up`` in a terminal: make a store where there is none, start, say where everything is, import the demo."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from actors.store import MANIFEST, Store
from events.clock import Clock, millis
from serving.keys import FILE as KEYS_FILE
from serving.keys import Keys
from serving.settings import Settings
from serving.supervisor import Plan, Supervisor, Up

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class UpOptions:
    """The command line's wishes. ``host`` and ``port`` of None are the settings'; ``demo`` imports The Complete
    Journey once and opens the page to whoever is on this machine."""

    data: Path
    host: str | None = None
    port: int | None = None
    demo: bool = False


def run_up(options: UpOptions, environ: Mapping[str, str], clock: Clock, console: Console) -> None:
    """Serve in the foreground until SIGINT or SIGTERM. Raises as `Supervisor.run`, `Store.open` and `Settings.load`."""
    data = options.data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    settings = Settings.load(data, environ)
    if (data / MANIFEST).exists():
        Store.open(data)
    else:
        Store.create(data, settings.store.partitions, millis(clock.now()), settings.store.pinned)
    keys = Keys.open(data, create=True)
    host = options.host or settings.server.host
    plan = Plan(
        data=data,
        host=host,
        port=settings.server.port if options.port is None else options.port,
        replicas=settings.server.replicas,
        demo=options.demo and host in LOOPBACK,
    )
    console.print(f"Everfold is starting on {data} ...")
    Supervisor(plan, _Announcer(options, keys, console).ready, lambda line: console.print(line, style="yellow")).run()
    console.print("Everfold has stopped.")


class _Announcer:
    """Tells the terminal that the service is up; the whole story the first time, a line after a restart."""

    def __init__(self, options: UpOptions, keys: Keys, console: Console) -> None:
        self._options = options
        self._keys = keys
        self._console = console
        self._told = False

    def ready(self, up: Up) -> None:
        say = self._console.print
        if self._told:
            say(f"Ready again after {up.seconds:.1f} s.")
        else:
            say(f"\n[bold]Everfold is ready[/bold] at {up.address}  ({up.seconds:.1f} s)")
            say(f"keys: {up.plan.data / KEYS_FILE}\n")
            for line in curl_lines(up.address, self._keys):
                say(line, soft_wrap=True, highlight=False, markup=False)
            say("\nCtrl-C stops it.")
            self._told = True
        if self._options.demo:
            _import_demo(up)


def curl_lines(address: str, keys: Keys) -> tuple[str, str, str]:
    """Something to copy: tell what somebody did, ask what to show them, look at what is known."""
    event = '{"userId":"you","event":"Product Viewed","properties":{"product_id":"1"}}'
    bearer = f'-H "Authorization: Bearer {keys.api_key}"'
    return (
        f"curl {address}/v1/track -u {keys.write_key}: -d '{event}'",
        f'curl "{address}/v1/recommend?user_id=you&n=5" {bearer}',
        f"curl {address}/v1/profiles/you {bearer}",
    )


def _import_demo(up: Up) -> None:
    """A process of its own: it takes memory for a few minutes, and goes on where an interrupted one stopped."""
    command = [sys.executable, "-m", "serving.cli", "import", "journey", "--data", str(up.plan.data)]
    subprocess.Popen(
        [*command, "--address", up.address, "--quiet-when-done"],
        stdin=subprocess.DEVNULL,
        env=dict(os.environ),
        start_new_session=True,  # Ctrl-C is the supervisor's to handle
    )
