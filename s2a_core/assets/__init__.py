"""Weights that ship with s2a."""
