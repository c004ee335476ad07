"""Data files that ship with the package; see fastconv.datasets."""
