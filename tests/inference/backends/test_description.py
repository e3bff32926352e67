import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from t3d.errors import CheckpointError
from t3d.inference.backends.base import Export, from_text, to_text
from t3d.models.checkpoints import ModelCard

FILE = Path("weights.xml")


def test_card_and_making_come_back(card: ModelCard, export: Export) -> None:
    odd = replace(card, labels=('a "quoted" <b> & c', "naïve\nΩ", "\\"), training={"command": "t3d train 'x y'"})
    told = replace(export, versions={"torch": "2.13"}, difference=3e-7, agreement=0.5, compared="4 clips")
    text = to_text(odd, told)
    assert text.isascii()
    assert "\n" not in text
    assert from_text(text, file=FILE) == (odd, told)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda values: values.update(schema_version=2), "schema version 2 is newer than this t3d"),
        (lambda values: values["model"].update(schema_version=9), "schema version 9 is newer than this t3d"),
        (lambda values: values["export"].update(unheard_of=1), "unheard_of"),
        (lambda values: values.pop("model"), "'model'"),
    ],
)
def test_what_is_not_of_this_t3d_is_refused(
    change: Callable[[dict[str, object]], object], says: str, card: ModelCard, export: Export
) -> None:
    values = json.loads(to_text(card, export))
    change(values)
    with pytest.raises(CheckpointError, match=f"^weights.xml: its description cannot be read .*{says}.*export"):
        from_text(json.dumps(values), file=FILE)


@pytest.mark.parametrize(("text", "says"), [(None, "no t3d description"), ("{", "cannot be read"), ("[]", "cannot")])
def test_what_is_no_description_is_refused(text: str | None, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        from_text(text, file=FILE)
