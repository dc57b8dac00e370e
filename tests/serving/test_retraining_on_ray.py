"""Retraining on Ray: on a Ray of its own, and on a cluster of which a machine is lost in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest
from grown_shop import grown

from training.gate import GatePolicy
from training.inventory import FITTED
from training.on_ray import RayCluster
from training.replay import offsets_now
from training.retraining import Inline, RetrainPlan, retrain

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grown(tmp_path_factory.mktemp("shop") / "data", households=40, weeks=8)


@pytest.fixture(scope="module")
def inline(shop: Path) -> str:
    return retrain(plan(shop), Inline(), lambda *_: None).model.id


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")  # more than one node on this machine


def plan(data: Path) -> RetrainPlan:
    return RetrainPlan(data, offsets_now(data), gate=GatePolicy(resamples=200))


def test_on_a_ray_of_its_own_the_same_model_comes_out_as_in_one_thread(shop: Path, inline: str) -> None:
    told: list[str] = []
    with RayCluster(cpus=2) as cluster:
        made = retrain(plan(shop), cluster, lambda name, *_: told.append(name))
    assert made.model.id == inline
    assert sorted(told) == sorted(
        ["read p0", "read p1", "judge", *(f"{how} {name}" for name in FITTED for how in ("try", "fit"))]
    )


def test_a_machine_that_is_lost_in_the_middle_costs_time_only(shop: Path, inline: str) -> None:
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 200 << 20})
    try:
        lost = nodes.add_node(num_cpus=2, object_store_memory=200 << 20)
        nodes.wait_for_nodes()
        ended: list[str] = []

        def tell(name: str, *_: int) -> None:
            if name.startswith("try") and not any(one.startswith("try") for one in ended):
                nodes.remove_node(lost, allow_graceful=False)  # with the tasks that run there, and their results
                nodes.add_node(num_cpus=1, object_store_memory=200 << 20)
            ended.append(name)

        with RayCluster(nodes.address) as cluster:
            made = retrain(plan(shop), cluster, tell)
        assert made.model.id == inline
        assert len(ended) == 2 + 2 * len(FITTED) + 1
    finally:
        nodes.shutdown()
