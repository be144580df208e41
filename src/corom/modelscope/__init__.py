"""What code written for ModelScope imports: only the import lines change.

from corom.modelscope import Model, Tasks, pipeline
"""

from corom.modelscope.pipelines import Input, Model, Output, Pipeline, Tasks, pipeline

__all__ = ["Input", "Model", "Output", "Pipeline", "Tasks", "pipeline"]
