"""What code written for ModelScope imports: only the import lines change.

from corom.modelscope import Model, Tasks, pipeline
from corom.modelscope import MsDataset, Trainers, build_trainer
"""

from corom.modelscope.config import Config
from corom.modelscope.inputs import Input
from corom.modelscope.msdatasets import MsDataset
from corom.modelscope.pipelines import Model, Output, Pipeline, Tasks, pipeline
from corom.modelscope.ranking import RankingOutput, RankingPipeline
from corom.modelscope.trainers import SentenceEmbeddingTrainer, Trainers, build_trainer

__all__ = [
    "Config",
    "Input",
    "Model",
    "MsDataset",
    "Output",
    "Pipeline",
    "RankingOutput",
    "RankingPipeline",
    "SentenceEmbeddingTrainer",
    "Tasks",
    "Trainers",
    "build_trainer",
    "pipeline",
]
