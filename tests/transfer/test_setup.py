from pathlib import Path

import torch

from t3d.data.samples import UNLABELLED, Sample
from t3d.transfer.pairs import Place
from t3d.transfer.setup import exchange


def test_shuffled_pairs_never_keep_a_view_in_its_group() -> None:
    groups = [name for name, size in (("a", 3), ("b", 1), ("c", 3), ("d", 2)) for _ in range(size)]
    places = [
        Place(sample=Sample(name=f"{index}", path=Path("x"), label=UNLABELLED, group=group))
        for index, group in enumerate(groups)
    ]
    seen = set()
    for seed in range(20):
        exchanged = exchange(places, seed)
        assert sorted(exchanged.tolist()) == list(range(len(places)))
        assert all(groups[index] != groups[other] for index, other in enumerate(exchanged.tolist()))
        assert torch.equal(exchanged, exchange(places, seed))
        seen.add(tuple(exchanged.tolist()))
    assert len(seen) == 6  # orders of four groups in a circle
