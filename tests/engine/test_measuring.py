"""What is fastest here is measured, and measuring leaves no trace."""

from types import SimpleNamespace

import pytest
import torch

from engine import measuring
from engine.measuring import Arithmetic, fastest
from engine.models.network import Network

WAYS = [(precision, layout) for precision in ("none", "bf16") for layout in ("channels_last", "contiguous")]


class Clock:
    """Time that passes only where it is told to."""

    now = 0.0

    def pass_(self, seconds):
        self.now += seconds


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(measuring, "time", SimpleNamespace(perf_counter=lambda: CLOCK.now))


class Paced(Network):
    """Takes as long as `pauses` say for each way to compute."""

    def __init__(self, pauses):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(4, 3, 3, 3))
        self.pauses = pauses

    def loss(self, images, targets):
        precision = "bf16" if torch.is_autocast_enabled("cpu") else "none"
        layout = "channels_last" if images.is_contiguous(memory_format=torch.channels_last) else "contiguous"
        assert self.weight.is_contiguous(memory_format={"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[layout])
        CLOCK.pass_(self.pauses[precision, layout])
        return {"loss": (self.weight * torch.rand(1)).sum()}


@pytest.mark.parametrize("quick", WAYS)
def test_the_fastest_way_is_found(quick):
    pauses = {way: 0.03 + 0.03 * (way[0] != quick[0]) + 0.015 * (way[1] != quick[1]) for way in WAYS}
    way, seconds = fastest(Paced(pauses), torch.rand(2, 3, 8, 8), [])
    assert way == Arithmetic(*quick)
    assert seconds[str(way)] == min(seconds.values())


def test_of_equals_the_plainer_way_wins():
    pauses = dict.fromkeys(WAYS, 0.05)
    assert fastest(Paced(pauses), torch.rand(2, 3, 8, 8), [])[0] == Arithmetic("none", "channels_last")


@pytest.mark.parametrize(("pause", "chosen"), [({1: 0.01, 2: 0.05}, 1), ({1: 0.05, 2: 0.01}, 0), ({1: 0.03, 2: 0.03}, 0)])
def test_one_thread_is_taken_where_it_is_clearly_faster(pause, chosen):
    class Crowded(Paced):
        def loss(self, images, targets):
            CLOCK.pass_(pause[torch.get_num_threads()])
            return {"loss": self.weight.sum()}

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        way, seconds = fastest(Crowded({}), torch.rand(2, 3, 8, 8), [], threads=(1,))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert way.threads == chosen and sum("threads=1" in each for each in seconds) == 1


def test_measuring_leaves_network_and_random_numbers_as_they_were():
    network = Paced(dict.fromkeys(WAYS, 0.0))
    weight = network.weight.detach().clone()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fastest(network, torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), [])
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(network.weight, weight) and network.weight.grad is None
    assert network.weight.is_contiguous()
