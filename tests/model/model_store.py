"""The model of the store, under the name by which tests know it."""

from engine.simulators.store import ModelStore

__all__ = ["ModelStore"]
