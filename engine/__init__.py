"""Lightbox's engine: data sets in, trained vision models out. Knows nothing of the web page."""

import os

__version__ = "0.1.0"

# Nothing leaves the machine unasked: these libraries would look for updates or count their users.
for _name in ("NO_ALBUMENTATIONS_UPDATE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_name, "1")

# Threads that wait for each other sleep. Spinning, they slow a training that shares its cores with other programs down several times.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
