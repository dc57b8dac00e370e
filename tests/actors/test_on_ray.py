"""Hosts as real Ray actors: in a process of its own, because Ray reads its environment once."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

STORY = """
import asyncio, functools, json, os, signal, sys
from pathlib import Path
import ray
from actors.directory import Directory
from actors.on_ray import NAMESPACE, Hosts, Profiles, RayHost
from actors.store import Store
from actors.wire import pack_drafts, unpack_history, unpack_placed, unpack_views
from actors.reader import HostProfiles, LocalProfiles
from events.errors import Unavailable
from events.ids import Key, event_id
from events.payload import encode
from events.record import Draft
from events.types import Interaction, Line, Meta
from serving.opening import open_host

store = Store.create(Path(sys.argv[1]), 2, 0, ("u:bot",))
ray.init(address="local", namespace=NAMESPACE, include_dashboard=False, log_to_driver=False, num_cpus=1,
         object_store_memory=80 << 20, _temp_dir=sys.argv[2])
directory = Directory.spread(store.manifest.partitions, 1, store.manifest.pinned)
hosts = Hosts.start(directory, functools.partial(open_host, sys.argv[1]))
profiles, told = Profiles(store, hosts), {}

def viewed(key, n):
    event = Interaction("view", (Line(f"item-{n}"),))
    return Draft(key, event_id(b"k" * 32, "w", f"{key}-{n}"), 1000 + n, "interaction", 1, encode(Meta(), event))

async def until_available(ask):
    async with asyncio.timeout(60):
        while True:
            try:
                return await ask()
            except Unavailable:
                await asyncio.sleep(0.05)

async def appended(host, drafts):
    return unpack_placed(await until_available(lambda: host.append(pack_drafts(drafts))))

async def story():
    host = RayHost(store, hosts)
    await until_available(host.status)
    drafts = [viewed(key, n) for n in range(3) for key in ("u:u42", "u:bot", "a:b-7")]
    placed = await appended(host, drafts)
    told["statuses"] = sorted({one.status for one in placed})
    told["partitions"] = [placed[i].partition == store.partition(Key(drafts[i].key)) for i in range(len(drafts))]
    told["again"] = sorted({one.status for one in await appended(host, drafts)})
    parts = [unpack_placed(one) for one in await asyncio.gather(*(host.append(pack_drafts([d])) for d in drafts))]
    told["one by one"] = sorted({one.status for (one,) in parts})
    told["remote reader"] = (await HostProfiles(store, host).fetch(Key("u:bot"))).profile.version
    told["local reader"] = LocalProfiles(store).read(Key("u:bot")).profile.version
    told["partitions known"] = sorted((await host.status())["partitions"])
    pids = [await one.pid.remote() for one in hosts.all()]
    told["processes"] = len(set(pids))
    os.kill(pids[0], signal.SIGKILL)
    told["after a kill"] = sorted({one.status for one in await appended(host, drafts)})

asyncio.run(story())
view = ray.get(profiles.actor("u42").view.remote())
told["view"] = [view["version"], [one["item"] for one in view["recent"]]]
told["nobody"] = ray.get(profiles.actor("u:nobody").view.remote())
told["history"] = len(unpack_history(ray.get(profiles.actor("bot").history.remote(10))))
told["as of"] = unpack_views(ray.get(profiles.actor("a:b-7").as_of.remote(0)))[0].blob
told["is a ref"] = isinstance(profiles.actor("u42").view.remote(), ray.ObjectRef)
ray.get([one.close.remote() for one in hosts.all()])
print("TOLD" + json.dumps(told))
ray.shutdown()
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What happened to two hosts, one of them for a single pinned key."""
    folder = tmp_path_factory.mktemp("on_ray")
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    ours = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    with tempfile.TemporaryDirectory(prefix="ef-", dir="/tmp") as scratch:
        done = subprocess.run(
            [sys.executable, "-c", STORY, str(folder / "data"), scratch],
            env={**os.environ, **ours},
            cwd=Path(__file__).parent.parent.parent,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("TOLD")]
    assert lines, done.stdout[-4000:] + done.stderr[-4000:]
    value = json.loads(lines[0].removeprefix("TOLD"))
    assert isinstance(value, dict)
    return value


def test_a_handle_answers_like_that_of_a_ray_actor(told: dict[str, object]) -> None:
    assert told["is a ref"] is True
    assert told["view"] == [3, ["item-2", "item-1", "item-0"]]
    assert told["nobody"] is None
    assert told["history"] == 3
    assert told["as of"] is None


def test_events_reach_the_partitions_of_their_keys(told: dict[str, object]) -> None:
    assert told["statuses"] == ["ok"]
    assert told["partitions"] == [True] * 9


def test_sending_again_changes_nothing_also_when_calls_travel_together(told: dict[str, object]) -> None:
    assert told["again"] == ["duplicate"]
    assert told["one by one"] == ["duplicate"]


def test_a_pinned_key_has_a_process_of_its_own(told: dict[str, object]) -> None:
    assert told["processes"] == 2
    assert told["partitions known"] == [0, 1, 2]


def test_both_readers_see_the_same(told: dict[str, object]) -> None:
    assert told["remote reader"] == told["local reader"] == 3


def test_a_killed_host_is_back_with_its_memory_of_ids(told: dict[str, object]) -> None:
    assert told["after a kill"] == ["duplicate"]
