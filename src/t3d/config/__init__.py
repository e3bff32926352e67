"""What each command can be told, and the defaults; the presets of a training are in `t3d.presets`.

Field docstrings become the help of the command line. Only `t3d.cli` and `t3d.recipes` see these classes; below them go
plain arguments and the small value objects of `t3d.video.spec`. Nothing here imports torch, so `--help` is instant.
"""

from t3d.config.bench import BenchConfig
from t3d.config.learning import DemoConfig, FlowConfig, LearningConfig, TrainConfig, TransferConfig
from t3d.config.names import Accelerator, Backend, BenchKind, EngineName, Flow, Format, Layout, Precision
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
from t3d.config.tools import ConvertConfig, DataConfig, ExportConfig, ModelsConfig, PrepareConfig

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
    "Flow",
    "FlowConfig",
    "Format",
    "FuseConfig",
    "LabelOptions",
    "Layout",
    "LearningConfig",
    "ModelOptions",
    "ModelsConfig",
    "OptimizerOptions",
    "PairOptions",
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
