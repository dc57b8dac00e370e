"""Where an actor lives: key → partition → host, by an explicit table.

A table and not a ring: two routers with different views of a ring make two owners; of a table there is one, with a
version. The number of hashed partitions is fixed when a store is made. A few *pinned* keys (a huge tenant, a bot under
watch) have a partition, and a host process, of their own: the literal one-process-per-actor case, the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from events.errors import NotFound
from events.ids import Key, PartitionId, partition_of


@dataclass(frozen=True)
class Directory:
    """``hosts[p]`` is the host of partition p. Partitions below ``hashed`` take keys by their hash, those from there
    on each a key of ``pinned``."""

    hashed: int
    hosts: tuple[str, ...]
    pinned: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = sorted(self.pinned.values())
        assert 1 <= self.hashed <= len(self.hosts)
        assert own == list(range(self.hashed, len(self.hosts))), f"pinned keys own partitions {own} of {self.hosts}"

    @classmethod
    def spread(cls, hashed: int, hosts: int, pinned: Sequence[str] = ()) -> Directory:
        """Hashed partitions dealt out over ``hosts`` hosts in turn, each pinned key on a host of its own.

        >>> d = Directory.spread(3, 2, ["u:bot"]); d.hosts, d.host(Key("u:bot")), d.partition(Key("u:42"))
        (('h0', 'h1', 'h0', 'pin0'), 'pin0', 1)
        """
        dealt = tuple(f"h{number % hosts}" for number in range(hashed))
        own = tuple(f"pin{number}" for number in range(len(pinned)))
        return cls(hashed, dealt + own, {key: hashed + number for number, key in enumerate(pinned)})

    def partition(self, key: Key) -> PartitionId:
        own = self.pinned.get(key)
        return partition_of(key, self.hashed) if own is None else PartitionId(own)

    def host(self, key: Key) -> str:
        return self.hosts[self.partition(key)]

    def names(self) -> tuple[str, ...]:
        """Every host once, in order of its first partition."""
        return tuple(dict.fromkeys(self.hosts))

    def owned_by(self, host: str) -> tuple[PartitionId, ...]:
        """The partitions of one host. Raises `NotFound` for one the table does not know."""
        owned = tuple(PartitionId(number) for number, name in enumerate(self.hosts) if name == host)
        if not owned:
            raise NotFound(f"no partition lives on host {host!r}: it knows {', '.join(self.names())}")
        return owned
