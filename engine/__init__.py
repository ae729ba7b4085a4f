"""Lightbox's engine: data sets in, trained vision models out. Knows nothing of the web page."""

import os

__version__ = "0.1.0"

# Nothing leaves the machine unasked: these libraries would look for updates or count their users.
for _name in ("NO_ALBUMENTATIONS_UPDATE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_name, "1")

# Threads that wait for each other spin for a short while only (GNU OpenMP's count; its own is 300,000). Beside other programs the usual spinning
# makes a training step several times slower; measured with ResNet-18 on two cores: 1,061 ms against 164 ms in a crowd, 72 ms and 72 ms alone.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
