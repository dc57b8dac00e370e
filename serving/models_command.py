"""``everfold models``: what there is, side by side, and which one serves. All through the running service, whose log
holds the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from events.errors import NotFound
from serving.service_client import ServiceClient

_OUT = Console(highlight=False)
SHORT = 12
"""Digits of an id that are shown; as many, or fewer where they are unambiguous, are enough to name it."""


def list_models(data: Path, address: str) -> None:
    told = ServiceClient.of(data, address).get("/v1/models")
    models = _rows(told["models"])
    if not models:
        _OUT.print("There is no model yet: `everfold retrain` makes one.")
        return
    table = Table("model", "state", "judged", "requests", "challenger", "difference", "why", box=None)
    for model in models:
        judged = model["judged"]
        row = [str(model["model"])[:SHORT], str(model["state"])]
        if isinstance(judged, Mapping):
            verdict = judged["verdict"]
            row += [
                str(verdict["decision"]),
                f"{verdict['requests']:,}",
                _measured(verdict["challenger"]),
                _measured(verdict["difference"], signed=True),
                "; ".join(verdict["reasons"]),
            ]
        table.add_row(*row)
    _OUT.print(table)
    if not told["champion"]:
        _OUT.print("None of them serves: answers are made with fixed weights.")


def compare_models(data: Path, address: str, one: str, other: str) -> None:
    """What each reached on its own window, recommender by recommender. Windows may differ: only a gate compares on the
    same requests."""
    client = ServiceClient.of(data, address)
    shown = [_shown(client, model) for model in (one, other)]
    evaluations = [_evaluation(each) for each in shown]
    table = Table("", *(str(each["model"])[:SHORT] for each in shown), box=None)
    table.add_row("state", *(str(each["state"]) for each in shown))
    for name in sorted({name for each in evaluations for name in each}):
        cells = [each.get(name, {}) for each in evaluations]
        for metric in sorted({metric for cell in cells for metric in cell}):
            table.add_row(f"{name} {metric}", *(_measured(c[metric]) if metric in c else "-" for c in cells))
    _OUT.print(table)


def promote_model(data: Path, address: str, model: str, reason: str) -> None:
    client = ServiceClient.of(data, address)
    wish = {"by": "hand", "reasons": [reason] if reason else []}
    told = client.post(f"/v1/models/{quote(_whole(client, model), safe='')}/promote", wish)
    _OUT.print(f"Model {told['champion']} serves." if told["applied"] else f"Model {told['champion']} serves already.")


def roll_back(data: Path, address: str, reason: str) -> None:
    told = ServiceClient.of(data, address).post(
        "/v1/models/rollback", {"by": "hand", "reasons": [reason] if reason else []}
    )
    serves = f"Model {told['champion']} serves" if told["champion"] else "No model serves, answers use fixed weights"
    _OUT.print(f"Rolled back. {serves}.")


def _whole(client: ServiceClient, given: str) -> str:
    """The id that begins with ``given``. Raises `NotFound` unless there is exactly one."""
    found = [str(row["model"]) for row in _rows(client.get("/v1/models")["models"])]
    fitting = [model for model in found if given and model.startswith(given)]
    if len(fitting) != 1:
        how = "no model's id begins" if not fitting else f"{len(fitting)} models' ids begin"
        raise NotFound(f"{how} with {given[:64]!r}: `everfold models` lists them")
    return fitting[0]


def _shown(client: ServiceClient, model: str) -> dict[str, object]:
    return client.get(f"/v1/models/{quote(_whole(client, model), safe='')}")


def _evaluation(shown: Mapping[str, object]) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    manifest = shown["manifest"]
    assert isinstance(manifest, Mapping)
    evaluation: Mapping[str, Mapping[str, Mapping[str, float]]] = manifest["provenance"].get("evaluation", {})
    return evaluation


def _rows(value: object) -> Sequence[Mapping[str, object]]:
    assert isinstance(value, list)
    return value


def _measured(found: Mapping[str, float], *, signed: bool = False) -> str:
    form = "+.4f" if signed else ".4f"
    return f"{found['value']:{form}} [{found['low']:{form}}, {found['high']:{form}}]"
