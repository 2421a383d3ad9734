from .for_lightning import LightningWatch
from .for_tensorboard import TensorBoardSink
from .for_trackio import TrackioSink
from .for_transformers import TrainerWatch
from .for_wandb import WandbSink

__all__ = ["LightningWatch", "TensorBoardSink", "TrackioSink", "TrainerWatch", "WandbSink"]
