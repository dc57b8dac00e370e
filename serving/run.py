"""What the supervisor tells its driver: one file in the run folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from serving.ports import Ports

FILE = "run.json"


class Run(msgspec.Struct, frozen=True):
    """One run of a service."""

    data: str
    scratch: str
    """A folder on a short path, for sockets and Ray's session."""
    parent: int
    """The supervisor's pid: the driver dies with it."""
    ports: Ports
    replicas: int
    demo: bool = False
    app: str = ""
    """``module:class`` of an ASGI application to serve in place of Everfold's, without hosts: for measuring the floor
    under the same flags."""

    @classmethod
    def read(cls, path: Path) -> Run:
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def write(self, folder: Path) -> Path:
        path = folder / FILE
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))
        return path
