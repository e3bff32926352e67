"""Which frames: decoded, sampled, transformed."""
