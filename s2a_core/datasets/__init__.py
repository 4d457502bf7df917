"""Image datasets for classification: open one from a directory, an archive, a name or the hub, and know it is sound."""

from s2a_core.datasets.open import open_dataset
from s2a_core.datasets.types import DatasetReport, ImageDataset, ImageSplit, Sample

__all__ = ["DatasetReport", "ImageDataset", "ImageSplit", "Sample", "open_dataset"]
