"""Training in several processes, as torchrun starts them: real processes on the CPU, against the same training in one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.config import TrainConfig
from engine.datasets.samples import generate
from engine.distributed import ALONE
from engine.models import create
from engine.models.matching import Targets
from engine.runs import Run
from engine.train import train
from engine.weights import safe_load

ROOT = Path(__file__).resolve().parents[2]
DRIVER = '''
import json, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from engine import distributed
from engine.config import TrainConfig
from engine.train import train
from engine.types import UserError
from tests.engine.test_distributed import counted_step

group, out = distributed.join(), Path(sys.argv[2])
for name, values, stops in json.loads(Path(sys.argv[3]).read_text()):
    losses = []
    for stop in stops:
        (out / name).mkdir(exist_ok=True)
        asked = iter(range(10 ** 6))
        for event in train(TrainConfig(**values), out / name, stop=lambda: next(asked) == stop, group=group):
            losses += [event.values["row"]["loss"]] if event.kind == "step" else []
    (out / f"{name}_{group.rank}.json").write_text(json.dumps(losses))
try:
    list(train(TrainConfig(**{**values, "batch": 1}), group=group))
except UserError as error:
    (out / f"refused_{group.rank}.json").write_text(json.dumps(error.key))
torch.save(counted_step(group), out / f"counted_{group.rank}.pt")
group.close()
'''


def counted_step(group):
    """Gradients of DEIMv2 for four scenes with 3, 0, 5 and 1 boxes, of which each process sees its share."""
    torch.manual_seed(0)
    network = create("deimv2_atto", 3).eval()
    for each in network.parameters():
        each.data += 0.02 * torch.randn_like(each) if each.requires_grad else 0
    images = torch.rand(4, 3, 64, 64)
    targets = [{"labels": torch.arange(n) % 3, "boxes": torch.rand(n, 4) * 0.3 + 0.2} for n in (3, 0, 5, 1)]
    network.share_counts(group.mean)
    part = slice(group.rank, None, group.size)
    truths = Targets.collate(targets[part])
    selected, _ = network.decoder.forward_training(network._maps(images[part]), None)
    sum(network.criterion(selected, None, None, truths, network.decoder.up, network.decoder.reg_scale).values()).backward()
    group.average(network, 1)
    return {name: each.grad for name, each in network.named_parameters() if each.grad is not None}


def launched(*arguments, timeout=180):
    return subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *map(str, arguments)],
                          cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


def settings(data, **changes):
    values = {"data": str(data), "epochs": 2, "batch": 4, "image_size": 64, "precision": "none", "threads": 1, "workers": 0, "device": "cpu",
              "weights": "none"}
    return {**values, **changes}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("together")
    generate("detect", root / "scenes", images=16, seed=3)
    generate("classify", root / "eyes", images=16, seed=3)
    return root


@pytest.fixture(scope="module")
def together(folders):
    """Everything that two processes do for these tests, in one start of them."""
    eyes = settings(folders / "eyes", model="timm", task="classify", options={"backbone": "test_convnext"}, image_size=32)
    plan = [("eyes", eyes, [-1]), ("straight", settings(folders / "scenes"), [-1]), ("parted", settings(folders / "scenes"), [3, -1]),
            ("recipe", settings(folders / "scenes", augment="official", minutes=0.05, epochs=0), [-1])]
    (folders / "driver.py").write_text(DRIVER)
    (folders / "plan.json").write_text(json.dumps(plan))
    done = launched(folders / "driver.py", ROOT, folders, folders / "plan.json")
    assert done.returncode == 0, done.stderr[:5000]
    return folders


def test_two_processes_learn_what_one_learns(together):
    values = json.loads((together / "plan.json").read_text())[0][1]
    alone = [event.values["row"]["loss"] for event in train(TrainConfig(**values), together) if event.kind == "step"]
    both = [json.loads((together / f"eyes_{rank}.json").read_text()) for rank in (0, 1)]
    assert len(alone) > 3 and both[0] == both[1]
    assert both[0] == pytest.approx(alone, abs=1e-5)


def test_gradients_of_a_counted_loss_are_those_of_the_whole_batch(together):
    whole, *parts = counted_step(ALONE), *(torch.load(together / f"counted_{rank}.pt", weights_only=True) for rank in (0, 1))
    for part in parts:
        assert part.keys() == whole.keys()
        for name, value in whole.items():
            assert torch.allclose(part[name], value, rtol=1e-3, atol=1e-5), name


def test_a_stopped_training_of_two_goes_on_as_if_it_never_had_been(together):
    first, second = (safe_load(together / name / "last.pt") for name in ("straight", "parted"))
    assert first["step"] == second["step"] > 3 and len(first["others"]) == 1
    assert all(torch.equal(value, second["model"][name]) for name, value in first["model"].items())
    assert all(torch.equal(value, second["ema"][name]) for name, value in first["ema"].items())


def test_minutes_and_the_published_recipe_end_in_all_processes_at_once(together):
    both = [json.loads((together / f"recipe_{rank}.json").read_text()) for rank in (0, 1)]
    assert both[0] and both[0] == both[1] and (together / "recipe" / "best.pt").is_file()


@pytest.mark.slow
def test_the_command_is_the_same_and_one_process_speaks(folders, tmp_path):
    done = launched("-m", "engine", "--", "train", "--lang", "en", "--data", folders / "scenes", "--model", "deimv2_atto", "--run", tmp_path / "run",
                    "--epochs", "1", "--batch", "4", "--image-size", "64", "--device", "cpu", "--set", "precision=none")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("2 processes train together; each takes 2 of the 4 images of a batch.") == 1
    run = Run(tmp_path / "run")
    assert run.state()["phase"] == "done" and len([row for row in run.metrics()[0] if row["split"] == "valid"]) == 1


def test_a_batch_that_is_too_small_for_the_processes_is_refused(together):
    assert [json.loads((together / f"refused_{rank}.json").read_text()) for rank in (0, 1)] == ["batch_below_processes"] * 2
