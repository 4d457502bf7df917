"""The process of an attempt."""
