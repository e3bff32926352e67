"""Late fusion of several evaluated runs, such as frames and optical flow, from their predictions."""

from typing import Any

from t3d.commands.evaluate import print_headline, save_results
from t3d.config import FuseConfig
from t3d.errors import ConfigError
from t3d.evaluation.fusion import aligned, choose_weights, mix
from t3d.evaluation.metrics import summarise
from t3d.evaluation.provenance import fusion_facts
from t3d.evaluation.results import read_predicted
from t3d.files import make_folder
from t3d.run_files import WEIGHTS_NAME, versions


def run(config: FuseConfig, *, command: str) -> dict[str, Any]:
    """Fuse; return the content of `metrics.json`.

    Raises:
        CheckpointError: A run was not evaluated, or its validation predictions belong to other weights.
        ConfigError: The output is the folder of a trained run, whose results would be overwritten.
        DataError: The runs were evaluated on different videos or labels.
    """
    if (config.output / WEIGHTS_NAME).exists():
        raise ConfigError(f"--output {config.output}: is the folder of a trained run; name another folder")
    runs = [read_predicted(path) for path in config.runs]
    rows = aligned(runs)
    weights = choose_weights(config.runs, runs, given=config.weights)
    results = mix(rows, weights.values)
    metrics = fusion_facts(runs, weights, results, command=command, versions=versions()) | summarise(results)
    save_results(make_folder(config.output), metrics, results, runs[0].labels)
    return metrics


def show(metrics: dict[str, Any], config: FuseConfig) -> int:
    """Print weights and summary; exit code 1 if a video could not be decoded."""
    for row in metrics["fusion"]["runs"]:
        print(f"{row['weight']:.3f} x {row['run']}")
    print(f"weights {metrics['fusion']['origin']}")
    return print_headline(metrics)
