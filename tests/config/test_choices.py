"""The lists that flags choose from are those of the tables, which `--help` cannot ask, for they import PyTorch."""

import inspect
from typing import get_args

import pytest

from t3d.commands import pipeline
from t3d.config import PipelineConfig, TrainConfig, TransferConfig, fields
from t3d.config.presets import preset_names
from t3d.data.formats import FORMATS
from t3d.inference.open import PRECISIONS
from t3d.models import ARCHITECTURES, LAYOUTS
from t3d.transfer.teachers import TEACHERS
from t3d.video.decode import BACKENDS


@pytest.mark.parametrize(
    ("listed", "table"),
    [
        (get_args(fields.Format), FORMATS),
        (get_args(fields.Precision), PRECISIONS),
        (get_args(fields.Backend), BACKENDS),
        (get_args(fields.Layout), ["auto", *LAYOUTS]),
        (get_args(fields.Pipeline), pipeline._PIPELINES),
        (fields.ARCHITECTURES, ARCHITECTURES),
        (fields.TEACHERS, TEACHERS),
    ],
)
def test_choices_are_those_of_the_table(listed: tuple[str, ...], table: dict[str, object]) -> None:
    assert sorted(listed) == sorted(table)


@pytest.mark.parametrize("verb", ["train", "transfer", "pipeline"])
def test_every_preset_is_named_in_the_help(verb: str) -> None:
    kind = {"train": TrainConfig, "transfer": TransferConfig, "pipeline": PipelineConfig}[verb]
    text = inspect.getsource(kind)
    assert [name for name in preset_names(verb) if name not in text] == []
