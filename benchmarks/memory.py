"""What processes really hold: proportional set size (shared pages divided among their users), from ``/proc``."""

from __future__ import annotations

from pathlib import Path


def stamped(run: str) -> list[int]:
    """The pids whose environment carries ``EVERFOLD_RUN=run``."""
    wanted, pids = f"EVERFOLD_RUN={run}".encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    pids.append(int(folder.name))
            except OSError:
                continue
    return sorted(pids)


def rollup(pid: int) -> dict[str, int]:
    """Bytes per field of ``smaps_rollup`` (Pss, Private_Dirty, Anonymous, ...); empty when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def pss(pids: list[int]) -> int:
    """Bytes that ``pids`` hold together."""
    return sum(rollup(pid).get("Pss", 0) for pid in pids)


def private(pid: int) -> int:
    """Bytes of a process's own memory: its anonymous pages. Pages of files it maps (LMDB, libraries) belong to the page
    cache and are dropped when memory is short, so they do not count."""
    return rollup(pid).get("Anonymous", 0)
