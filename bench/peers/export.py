"""Writes a model of models.py as TorchScript: export.py MODEL FILE."""
import sys

import torch

from models import MODELS

torch.manual_seed(1)
torch.jit.script(MODELS[sys.argv[1]][0]()).save(sys.argv[2])
