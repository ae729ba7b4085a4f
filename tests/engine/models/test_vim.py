"""Vision Mamba: the scan against a plain loop, any image size, and a map that reaches the logits."""

import pytest
import torch
import torch.nn.functional as F

from engine.models import create
from engine.models.hybridmednet import vim
from engine.models.hybridmednet.vim import Mixer, VisionMamba, recurrence, selective_scan


def plain_scan(x, step, decay, into, out, skip):
    """The definition, one image, one channel, one moment at a time in float64."""
    directions, images, length, channels = x.shape
    seen = torch.zeros_like(x)
    for k in range(directions):
        for b in range(images):
            state = torch.zeros(channels, decay.shape[-1], dtype=x.dtype)
            for t in range(length):
                now = step[k, b, t][:, None]
                state = torch.exp(now * decay[k]) * state + now * x[k, b, t][:, None] * into[k, b, t]
                seen[k, b, t] = state @ out[k, b, t] + skip[k] * x[k, b, t]
    return seen


@pytest.fixture
def signals():
    torch.manual_seed(0)
    x, step = torch.randn(2, 2, 9, 5), F.softplus(torch.randn(2, 2, 9, 5))
    return x, step, -torch.rand(2, 5, 4) - 0.1, torch.randn(2, 2, 9, 4), torch.randn(2, 2, 9, 4), torch.randn(2, 5)


def test_the_scan_is_the_state_space_model_step_by_step(signals):
    wanted = plain_scan(*(each.double() for each in signals))
    assert (selective_scan(*signals) - wanted).abs().max() < 1e-5
    with torch.no_grad():
        assert (selective_scan(*signals) - wanted).abs().max() < 1e-5


def test_the_gradient_of_the_scan_is_that_of_the_plain_loop(signals):
    given = [each.double().requires_grad_() for each in signals]
    ours = torch.autograd.grad(selective_scan(*given).square().sum(), given)
    length = given[0].shape[2]
    x, step, decay, into, out, skip = given
    state, seen = torch.zeros(2, 2, 5, 4, dtype=torch.double), []
    for t in range(length):
        now = step[:, :, t, :, None]
        state = torch.exp(now * decay[:, None]) * state + now * x[:, :, t, :, None] * into[:, :, t, None]
        seen.append((state * out[:, :, t, None]).sum(-1) + skip[:, None] * x[:, :, t])
    plain = torch.autograd.grad(torch.stack(seen, 2).square().sum(), given)
    assert all((a - b).abs().max() < 1e-9 for a, b in zip(ours, plain, strict=True))


def test_the_recurrence_passes_the_gradient_check():
    torch.manual_seed(1)
    decay, inputs = (torch.rand(6, 2, 3, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(recurrence, (decay, inputs))


def test_both_directions_are_read():
    torch.manual_seed(2)
    mixer = Mixer(16).eval()
    tokens = torch.randn(1, 10, 16)
    changed = tokens.clone()
    changed[0, 5] += 1
    difference = (mixer(tokens) - mixer(changed)).abs().sum(-1)[0]
    assert (difference > 0).all()


def test_the_kernel_gets_what_the_plain_scan_gets(signals):
    def kernel(u, delta, decay, into, out, skip):
        parts = (u.mT[None], delta.mT[None], decay[None], into.mT[None], out.mT[None], skip[None])
        return selective_scan(*parts)[0].mT

    assert torch.allclose(vim._fused(kernel, *signals), selective_scan(*signals), atol=1e-6)


def test_the_kernel_is_only_asked_for_when_it_is_installed():
    assert vim.cuda_scan() is None or callable(vim.cuda_scan())


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (50, 70)])
def test_any_image_size_passes(size):
    torch.manual_seed(3)
    network = create("vim_tiny", 3).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, *size)).shape == (2, 3)


def test_the_position_table_of_its_own_size_is_left_as_it_is():
    network = VisionMamba(16, depth=4)
    assert network._positions((14, 14)) is network.pos_embed
    resized = network._positions((2, 4))
    assert resized.shape == (1, 9, 16)
    assert torch.equal(resized[:, 4], network.pos_embed[:, 98])


def test_the_map_to_explain_with_reaches_the_logits():
    torch.manual_seed(4)
    network = create("vim_tiny", 3).eval()
    images = torch.randn(1, 3, 64, 48)
    logits, maps = network.explain(images)
    assert maps.shape == (1, 192, 4, 3)
    assert torch.allclose(logits, network(images), atol=1e-5)
    gradient, = torch.autograd.grad(logits[0, 0], maps)
    assert (gradient.abs().sum(1) > 0).all()


def test_one_step_of_training_changes_every_part():
    torch.manual_seed(5)
    network = create("vim_tiny", 2).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    sum(network.loss(torch.randn(2, 3, 32, 32), [{"values": torch.tensor([1.0, 0.0])}] * 2).values()).backward()
    optimizer.step()
    still = [name for name, value in network.state_dict().items() if torch.equal(value, before[name])]
    assert still == []
