"""Callbacks of frameworks, in trainings by the frameworks themselves."""

import os

# Before it is imported, wherever that is.
os.environ.setdefault("KERAS_BACKEND", "torch")
