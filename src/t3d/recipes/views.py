"""Turn the flags of scoring into views of videos."""

from t3d.config import ScoringOptions
from t3d.engine.scoring import ViewSpec


def view_spec(options: ScoringOptions) -> ViewSpec:
    """The views that the flags ask for."""
    return ViewSpec(clips=options.clips, crops=options.crops, batch_size=options.batch_size)
