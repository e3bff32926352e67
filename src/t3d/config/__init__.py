"""Flags of every command with their defaults; presets are in `t3d.config.presets`.

Field docstrings are the help of the command line; ranges are annotations of the fields (`t3d.bounds`). Only `t3d.cli`
and `t3d.commands` use these classes. Nothing in this package imports PyTorch, so that `--help` is instant.
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
