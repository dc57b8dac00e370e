"""A model artefact: the tables retraining fitted, content-addressed, memory-mapped by replicas.

    DIR/models/<id>/manifest.json     what it is: items, tables, log offsets, settings, seeds, versions, evaluation
    DIR/models/<id>/<table>.<array>.npy

The id is a digest of the manifest, which holds the digest of every file: a byte changed anywhere is noticed on loading.
Items have the artefact's own numbers; `Bound` translates them to those of the item table a request looks at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from training.learned import Learned

Array: TypeAlias = npt.NDArray[np.generic]
Table: TypeAlias = Mapping[str, Array]
"""The arrays of one recommender, by name."""


@dataclass(frozen=True, slots=True)
class Model:
    """Fitted tables over items 0..len(item_ids)-1."""

    id: str
    item_ids: Sequence[str]
    tables: Mapping[str, Table]
    """By recommender name; one that is absent abstains."""
    initial: Learned | None = None
    """Blend weights fitted with these tables on pseudo-requests: where the learner starts from after promotion."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A model seen through one item table."""

    model: Model
    to_view: npt.NDArray[np.int32]
    """By the model's item number: index in the view, -1 when the view does not know it."""
    to_model: npt.NDArray[np.int32]
    """By the view's index: the model's item number, -1 when the model does not know it."""
