"""What each command can be told, and the defaults; presets are in `t3d.config.presets`.

Field docstrings become the help of the command line, and a range stands at its field (`t3d.bounds`). Only `t3d.cli` and
`t3d.commands` see these classes. Nothing here imports PyTorch, so that `--help` is instant.
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
