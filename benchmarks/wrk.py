"""Throughput by ``wrk`` where the machine has it, else by our own closed loop (which takes more of the two cores)."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks import load

SCRIPT = """
local paths = {}
for line in io.lines("%s") do paths[#paths + 1] = line end
local n = 0
request = function()
  n = n %% #paths + 1
  return wrk.format("GET", paths[n], {["Authorization"] = "Bearer %s"})
end
"""


def name() -> str:
    return "wrk" if shutil.which("wrk") else "own closed loop"


async def throughput(port: int, paths: list[str], bearer: str, connections: int, seconds: int) -> tuple[float, int]:
    """(answers per second, answers that were not 2xx) of GET ``paths`` in turn."""
    if shutil.which("wrk") is None:
        requests = [load.request("GET", path, bearer=bearer) for path in paths]
        report = await load.closed_loop(port, _cycle(requests), connections, seconds)
        return report.rate, sum(n for status, n in report.statuses.items() if status != 200)
    with tempfile.TemporaryDirectory() as folder:
        listed, script = Path(folder, "paths"), Path(folder, "paths.lua")
        listed.write_text("\n".join(paths) + "\n")
        script.write_text(SCRIPT % (listed, bearer))
        url = f"http://{load.LOOPBACK}:{port}/"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    assert rate, out
    return float(rate.group(1)), int(bad.group(1)) if bad else 0


def _cycle(requests: list[bytes]):  # type: ignore[no-untyped-def]
    while True:
        yield from requests
