"""`everfold import` as it is typed: once, and by one process at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from service import Service

from actors.locking import FolderLock
from serving.commands import Importing, NotAgain, import_history

ROWS = "who,what,sku\n" + "".join(f"u{n % 3},Product Viewed,i{n}\n" for n in range(30))


@pytest.fixture
def shop(tmp_path: Path) -> Importing:
    (tmp_path / "rows.csv").write_text(ROWS)
    return Importing(str(tmp_path / "rows.csv"), tmp_path / "data", "", mapping="user=who,event=what,item=sku")


def at(shop: Importing, service: Service, *, quiet: bool = False) -> Importing:
    return Importing(shop.source, shop.data, service.address, shop.mapping, quiet_when_done=quiet)


def version(service: Service, user: str) -> object:
    return service.get(f"/v1/profiles/{user}").json["version"]


def test_a_second_import_is_refused_and_changes_nothing(shop: Importing) -> None:
    with Service(shop.data) as service:
        import_history(at(shop, service))
        with pytest.raises(NotAgain, match="has been imported before"):
            import_history(at(shop, service))
        import_history(at(shop, service, quiet=True))
        assert version(service, "u1") == 10


def test_an_import_that_is_under_way_is_not_begun_by_another_process(shop: Importing) -> None:
    with Service(shop.data) as service:
        import_history(at(shop, service))
        (held,) = (shop.data / "run" / "imports").iterdir()
        lock = FolderLock(held)
        with pytest.raises(NotAgain, match=r"being imported already, by process \d+"):
            import_history(at(shop, service))
        lock.release()
