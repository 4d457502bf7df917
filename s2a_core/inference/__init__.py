"""Using a finished run: load it, predict with it, export it."""

from s2a_core.inference.export import export_name, export_run
from s2a_core.inference.load import LoadedRun, load_run
from s2a_core.inference.predict import Prediction, find_images, predict

__all__ = ["LoadedRun", "Prediction", "export_name", "export_run", "find_images", "load_run", "predict"]
