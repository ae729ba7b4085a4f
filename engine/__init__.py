"""Lightbox's engine: data sets in, trained vision models out. Knows nothing of the web page."""

__version__ = "0.1.0"
