"""The Node.js SDK of Segment, unmodified."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from requirements import require
from service import Service

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "tests" / "node"
BUILT = ROOT / "build" / "node"
pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node() -> str:
    """A folder with the SDK in it: installed once, again when the lock file changed."""
    found, npm = shutil.which("node"), shutil.which("npm")
    require("node", present=bool(found and npm), missing="no `node` and `npm` on the path")
    assert found
    assert npm
    lock = (SOURCE / "package-lock.json").read_bytes()
    installed = BUILT / "installed-lock.json"
    if not installed.exists() or installed.read_bytes() != lock:
        BUILT.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / "package.json", BUILT)
        shutil.copy(SOURCE / "package-lock.json", BUILT)
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        result = subprocess.run(command, cwd=BUILT, capture_output=True, text=True, timeout=240, check=False)
        require("node", present=result.returncode == 0, missing=f"npm ci failed: {result.stderr[-500:]}")
        installed.write_bytes(lock)
    shutil.copy(SOURCE / "segment.mjs", BUILT)
    return found


def run(node: str, service: Service, write_key: str, user: str) -> dict[str, object]:
    command = [node, "segment.mjs", service.address, write_key, user]
    result = subprocess.run(command, cwd=BUILT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert isinstance(said, dict)
    return said


def test_all_calls_arrive_and_the_sdk_is_told_so(service: Service, node: str) -> None:
    said = run(node, service, service.embedded.keys.write_key, "node-1")
    assert said["errors"] == []
    assert said["calls"] == [{"failed": False, "id": f"n-{n}"} for n in (1, 2, 3)]
    events = service.get("/v1/profiles/node-1/events").json["events"]
    assert isinstance(events, list)
    assert [event["event_id"] for event in events] == ["n-3", "n-2", "n-1"]
    assert service.get("/v1/profiles/node-1").json["traits"] == {"plan": "free"}


def test_a_wrong_key_is_reported_and_nothing_arrives(service: Service, node: str) -> None:
    said = run(node, service, "wrong", "node-2")
    assert said["errors"]
    assert service.get("/v1/profiles/node-2").json["version"] == 0
