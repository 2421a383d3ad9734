from .decompose.attention import attention_backward
from .decompose.attention_blocks import AttentionRule
from .decompose.norm import split_layer_norm_gradient, split_rms_norm_gradient
from .decompose.residual import residual_paths
from .dictionaries.collection import find_dictionaries, read_dictionary
from .dictionaries.dictionary import Dictionary
from .dictionaries.foreign import dictionary_from_object
from .labs.call import lab
from .models.backward_rules.subjects import with_backward
from .models.loading import load_subject, subject_from_object, subject_from_transformers
from .models.modules import subject_from_module
from .models.subject import Subject
from .runs.results import Results
from .surveys.comparison.call import compare
from .surveys.features.call import sae
from .surveys.flow.call import flow
from .surveys.layers.call import layers
from .surveys.loading import load_results
from .surveys.stability.call import stability
from .surveys.tokens.call import tokens
from .surveys.validation.call import validate
from .tools.check.command import check
from .tools.doctor.command import doctor
from .tools.rules.apply import apply_rule, surrogate_norm
from .tools.train_sae.command import train_sae
from .tools.train_sae.trained import TrainedDictionary
from .tools.train_world.command import train_world
from .tools.train_world.trained import TrainedWorld
from .training.log.history import History
from .training.log.reading import read_history
from .training.watching.watch import Watch, watch

__all__ = [
    "AttentionRule",
    "Dictionary",
    "History",
    "Results",
    "Subject",
    "TrainedDictionary",
    "TrainedWorld",
    "Watch",
    "apply_rule",
    "attention_backward",
    "check",
    "compare",
    "dictionary_from_object",
    "doctor",
    "find_dictionaries",
    "flow",
    "lab",
    "layers",
    "load_results",
    "load_subject",
    "read_dictionary",
    "read_history",
    "residual_paths",
    "sae",
    "split_layer_norm_gradient",
    "split_rms_norm_gradient",
    "stability",
    "subject_from_module",
    "subject_from_object",
    "subject_from_transformers",
    "surrogate_norm",
    "tokens",
    "train_sae",
    "train_world",
    "validate",
    "watch",
    "with_backward",
]
