"""Decide, do not do: pure comparisons of what is wanted with what is recorded."""
