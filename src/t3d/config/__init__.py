"""What each command can be told, and the defaults; the presets of a training are in `t3d.config.presets`.

Field docstrings become the help of the command line. Only `t3d.cli` and `t3d.commands` see these classes; below them go
plain arguments and the small value objects of `t3d.video.spec`. Nothing here imports torch, so `--help` is instant.
"""

from t3d.config.fields import (
    Accelerator,
    Backend,
    BenchKind,
    EngineName,
    ExportPrecision,
    ExportTarget,
    Format,
    Layout,
    Pipeline,
    Precision,
)
from t3d.config.options import (
    LabelOptions,
    ModelOptions,
    OptimizerOptions,
    PairOptions,
    ProbeOptions,
    RunOptions,
    ScheduleOptions,
    SelectionOptions,
    StartOptions,
    TeacherOptions,
)
from t3d.config.scoring import CompareConfig, EvaluateConfig, FuseConfig, PredictConfig, ScoringOptions
from t3d.config.tools import BenchConfig, ConvertConfig, DataConfig, ExportConfig, ModelsConfig, PrepareConfig
from t3d.config.training import DemoConfig, LearningConfig, PipelineConfig, TrainConfig, TransferConfig

__all__ = [
    "Accelerator",
    "Backend",
    "BenchConfig",
    "BenchKind",
    "CompareConfig",
    "ConvertConfig",
    "DataConfig",
    "DemoConfig",
    "EngineName",
    "EvaluateConfig",
    "ExportConfig",
    "ExportPrecision",
    "ExportTarget",
    "Format",
    "FuseConfig",
    "LabelOptions",
    "Layout",
    "LearningConfig",
    "ModelOptions",
    "ModelsConfig",
    "OptimizerOptions",
    "PairOptions",
    "Pipeline",
    "PipelineConfig",
    "Precision",
    "PredictConfig",
    "PrepareConfig",
    "ProbeOptions",
    "RunOptions",
    "ScheduleOptions",
    "ScoringOptions",
    "SelectionOptions",
    "StartOptions",
    "TeacherOptions",
    "TrainConfig",
    "TransferConfig",
]
