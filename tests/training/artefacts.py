"""Small artefacts with a verdict, for who tests what becomes of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from training.gate import Decided, Verdict
from training.learned import Learned
from training.model import Measured, Provenance, Table, model_of, save
from training.registry import Judged, Registry

NOTHING = Measured(0.0, 0.0, 0.0)


def verdict(decision: Decided) -> Verdict:
    return Verdict(decision, (f"because {decision}",), NOTHING, NOTHING, NOTHING)


def made(
    data: Path,
    number: int,
    decision: Decided | None = "promote",
    table: Table | None = None,
    initial: Learned | None = None,
) -> str:
    """An artefact with its verdict, made at second ``number``; its id."""
    registry = Registry(data)
    tables = {"ease": {"weight": np.full(3, number)} if table is None else table}
    model = model_of(["tea", "milk"], tables, initial, Provenance({"p0": number}))
    os.utime(save(registry.folder, model), (number, number))
    if decision is not None:
        registry.keep(Judged(model.id, verdict(decision), at=number))
    return model.id
