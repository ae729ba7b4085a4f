"""Weights files made fit for use: names of other code bases, other containers, repairs, and a proof that a model takes them.

Everything is read by weights_reading, so nothing in a file runs here either; what is written holds tensors and plain values only.
"""
