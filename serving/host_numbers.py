"""What hosts and followers say of themselves, as numbers for ``/metrics`` and as reasons not to be ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from serving.follower_host import FollowerStatus
from serving.metrics import series


class Timing(msgspec.Struct, frozen=True):
    """A latency histogram: counts per bucket of `actors.histogram.BOUNDS_S` and one beyond."""

    counts: list[int]
    sum_s: float

    def cells(self) -> list[float]:
        return [self.sum_s, *map(float, self.counts)]


class PartitionFigures(msgspec.Struct, frozen=True):
    """Of `actors.host.PartitionHost.status`, what is published. ``stopped`` says why it takes no writes; with less than
    ``disk_floor`` free it takes none for as long as that lasts."""

    end: int
    applied: int
    durable_minus_applied: int
    duplicates: int
    disk_free: int
    disk_floor: int
    lmdb_oldest_reader: int
    lmdb_bytes: int
    epoch: int
    stopped: str

    @property
    def fault(self) -> str:
        """Why it takes no writes now, empty when it does."""
        if self.stopped or self.disk_free >= self.disk_floor:
            return self.stopped
        return f"{self.disk_free >> 20} MiB of disk left, below the floor of {self.disk_floor >> 20}: free some space"


class HostFigures(msgspec.Struct, frozen=True):
    """One host. ``unopened``: partition → why it could not be opened; ``fatal``: why the process had better be
    replaced, empty when it need not."""

    partitions: dict[int, PartitionFigures]
    unopened: dict[int, str]
    fatal: str
    append: Timing
    sync: Timing

    @classmethod
    def of(cls, status: Mapping[str, object]) -> HostFigures:
        return msgspec.convert(status, cls)

    def fault(self) -> str:
        """Why writes would fail, empty when they would not."""
        told = [f"partition {number}: {why}" for number, why in sorted(self.unopened.items())]
        told += [f"partition {number}: {one.fault}" for number, one in sorted(self.partitions.items()) if one.fault]
        return "; ".join(told)

    def numbers(self) -> dict[str, list[float]]:
        found = {
            "everfold_host_up": [1.0],
            "everfold_append_seconds": self.append.cells(),
            "everfold_fsync_seconds": self.sync.cells(),
        }
        for number, one in self.partitions.items():
            figures = {
                "everfold_durable_lsn": one.end,
                "everfold_applied_lsn": one.applied,
                "everfold_durable_minus_applied": one.durable_minus_applied,
                "everfold_dedupe_hits_total": one.duplicates,
                "everfold_disk_free_bytes": one.disk_free,
                "everfold_lmdb_oldest_reader_commits": one.lmdb_oldest_reader,
                "everfold_lmdb_map_used_bytes": one.lmdb_bytes,
                "everfold_host_restarts_total": one.epoch - 1,
                "everfold_partition_stopped": bool(one.stopped),
            }
            for name, value in figures.items():
                found[series(name, partition=str(number))] = [float(value)]
        return found


def follower_fault(followers: Iterable[FollowerStatus]) -> str:
    """Why some follower stands still, empty while all run."""
    return "; ".join(f"{one.name}: {one.fault}" for one in followers if one.fault)


def follower_numbers(followers: Iterable[FollowerStatus]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in followers:
        found[series("everfold_follower_up", follower=one.name)] = [float(not one.fault)]
        if one.name == "decisions":
            found["everfold_spool_backlog_bytes"] = [float(one.lag)]
            continue
        found[series("everfold_follower_lag_records", follower=one.name)] = [float(one.lag)]
        found[series("everfold_follower_age_seconds", follower=one.name)] = [one.age_us / 1e6]
        found[series("everfold_follower_deferred", follower=one.name)] = [float(one.deferred)]
        found |= {name: [value] for name, value in one.numbers.items()}
    return found
