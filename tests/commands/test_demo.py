import json
from dataclasses import replace
from pathlib import Path

import pytest

from program import Call
from t3d.commands import demo
from t3d.config import DemoConfig
from t3d.data import shapes
from t3d.data.shapes import render_shapes


def test_demo_goes_the_whole_way(t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T3D_CACHE", str(tmp_path / "cache"))
    few = {"num_train_per_class": 1, "num_test_per_class": 3, "edge": 32, "num_workers": 0}
    monkeypatch.setattr(shapes, "render_shapes", lambda folder, **options: render_shapes(folder, **(options | few)))
    config = demo.train_config(DemoConfig(output=tmp_path / "demo"))
    short = replace(
        config, schedule=replace(config.schedule, max_steps=2), run=replace(config.run, workers=0, accelerator="cpu")
    )
    monkeypatch.setattr(demo, "train_config", lambda _: short)
    outcome = t3d("demo", "--output", tmp_path / "demo")
    assert outcome.code == 0, outcome.err
    assert "video top-1" in outcome.out
    assert str(tmp_path / "demo" / "report.html") in outcome.err
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    assert metrics["video"]["num_videos"] == 36
    assert set(metrics["by_tag"]) == {"short", "medium", "long"}
    assert list((tmp_path / "demo" / "timeline").glob("*.timeline.png"))


def test_demo_differs_from_the_quick_preset_only_where_it_says() -> None:
    config = demo.train_config(DemoConfig(seed=3, shuffle_frames=True))
    assert config.augment.flip_probability == 0.0  # a flip would turn left into right
    assert config.clip.order == "shuffled"
    assert config.run.seed == 3
    assert demo.train_config(DemoConfig()).clip.order == "forward"
