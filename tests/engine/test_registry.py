"""Registries: what is listed, what an unknown name says, and what listing costs."""

import subprocess
import sys

import pytest

from engine.datasets.formats import formats
from engine.models import models
from engine.tasks.task import tasks
from engine.types import UserError


@pytest.mark.parametrize("registry, known", [(models, "deimv2_atto"), (formats, "coco"), (tasks, "detect")])
def test_an_unknown_name_lists_the_known_ones(registry, known):
    assert known in registry.names()
    with pytest.raises(UserError, match=known):
        registry.get("no such thing")


def test_listing_models_and_formats_does_not_load_torch():
    code = "import sys\nfrom engine.models import models\nfrom engine.datasets.formats import formats\nmodels.names(), formats.names()\n" \
           "sys.exit('torch' in sys.modules or 'gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
