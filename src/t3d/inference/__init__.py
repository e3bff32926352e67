"""From a trained network and videos to scores, by whichever backend."""
