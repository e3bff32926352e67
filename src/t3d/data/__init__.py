"""Which videos, which labels, which split; and videos as torch datasets."""
