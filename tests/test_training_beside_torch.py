"""The same training in PyTorch: from the same weights, with the same batches, the loss takes the same path."""

from __future__ import annotations

import numpy as np
import pytest

import pyneural as pn
from pyneural import models, nn, optim

STEPS, BATCH = 100, 32
CASES = {
    # sizes, hidden activation, output activation, optimiser, step size, weight decay
    "ReLU autoencoder, Adam": ((784, 1024, 2), "relu", "sigmoid", "Adam", 1e-3, 0.0),
    "sigmoid autoencoder, SGD": ((784, 1024, 2), "sigmoid", "sigmoid", "SGD", 0.5, 1e-5),
    "tanh bottleneck, Adam": ((784, 30), None, "tanh", "Adam", 1e-3, 0.0),
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Embedded digits, standardised as MNIST is in the experiments."""
    return pn.data.standardise(pn.data.digits(n=2000).images.reshape(-1, 784), 0.1307, 0.3081, np.float32)


def peer(torch, model):
    """The same layers in PyTorch, with the same weights."""
    layers = []
    for layer in (*model.encoder, *model.decoder):
        if isinstance(layer, nn.Linear):
            layers.append(torch.nn.Linear(layer.in_features, layer.out_features))
        else:
            layers.append(getattr(torch.nn, type(layer).__name__)())
    net = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for theirs, ours in zip(net.parameters(), model.parameters(), strict=True):
            theirs.copy_(torch.from_numpy(np.asarray(ours.detach()).copy()))
    return net


@pytest.mark.parametrize("name", CASES)
def test_loss_takes_the_path_of_the_peer(name, images):
    torch = pytest.importorskip("torch", reason="PyTorch, the peer, is not installed")
    sizes, activation, output, rule, rate, decay = CASES[name]
    pn.manual_seed(0)
    model = models.Autoencoder(sizes, activation, output_activation=output)
    net = peer(torch, model)
    order = np.concatenate([np.random.default_rng(epoch).permutation(len(images)) for epoch in range(2)])
    batches = order[: STEPS * BATCH].reshape(STEPS, BATCH)

    ours = getattr(optim, rule)(model.parameters(), lr=rate, weight_decay=decay)

    @pn.compile
    def step(x):
        ours.zero_grad()
        loss = nn.functional.mse_loss(model(x), x)
        loss.backward()
        ours.step()
        return loss

    found = np.array([step(pn.tensor(images[rows])).item() for rows in batches])

    theirs = getattr(torch.optim, rule)(net.parameters(), lr=rate, weight_decay=decay)
    expected = []
    for rows in batches:
        x = torch.from_numpy(images[rows])
        theirs.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), x)
        loss.backward()
        theirs.step()
        expected.append(loss.item())
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert found[-1] < 0.95 * found[0]
