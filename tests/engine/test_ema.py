"""The running average of the weights."""

import copy

import torch
from torch import nn

from engine.ema import Ema


def test_average_follows_the_formula_for_parameters_and_buffers():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ema = Ema(network, 0.9)
    expected = copy.deepcopy(network.state_dict())
    for step in range(1, 6):
        with torch.no_grad():
            for value in network.state_dict().values():
                value.add_(1 if value.dtype == torch.int64 else torch.randn_like(value))
        decay = 0.9 * (1 - torch.exp(torch.tensor(-step / 10.0)).item())
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                expected[name] = decay * expected[name] + (1 - decay) * value
        ema.update(network)
    for name, value in ema.network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)


def test_a_tensor_listed_twice_is_averaged_once():
    shared = nn.Linear(2, 2)
    network = nn.ModuleList([shared, shared])
    ema = Ema(network, 0.5)
    with torch.no_grad():
        shared.weight.zero_()
    before = ema.network[0].weight.clone()
    ema.update(network)
    decay = 0.5 * (1 - torch.exp(torch.tensor(-0.5)).item())
    torch.testing.assert_close(ema.network[0].weight, decay * before)


def test_what_a_network_remembers_of_a_forward_is_no_obstacle():
    """LeViT keeps attention biases, with their graph, while it is not in training."""
    network = nn.Linear(2, 2)
    network.seen = {"cpu": network.weight * 2}
    ema = Ema(network, 0.9)
    ema.update(network)
    assert not ema.network.seen["cpu"].requires_grad and torch.equal(ema.network.weight, network.weight)
