import json

from program import Call
from t3d.models.registry import ARCHITECTURES


def test_models_as_json_and_table(t3d: Call) -> None:
    rows = json.loads(t3d("models", "--json").out)
    assert [row["name"] for row in rows] == list(ARCHITECTURES)
    assert rows[0]["input"] == [3, 32, 224, 224]
    out = t3d("models").out
    assert all(name in out for name in ARCHITECTURES)
    assert f"{rows[0]['parameters'] / 1e6:.2f} M" in out
