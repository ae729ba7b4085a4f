"""Surgical instruments seen from above: their outlines, their metal and what they lie on."""
