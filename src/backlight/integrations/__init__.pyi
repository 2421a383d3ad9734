from .dashboards import TensorBoardSink, TrackioSink, WandbSink
from .for_lightning import LightningWatch
from .for_transformers import TrainerWatch

__all__ = ["LightningWatch", "TensorBoardSink", "TrackioSink", "TrainerWatch", "WandbSink"]
