"""Autoencoders: shapes, activations, tied weights, training with and without replay, and what is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import pyneural as pn
from pyneural import models, nn, optim

X = np.random.default_rng(0).random((60, 12)).astype(np.float32)


def names(layers: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in layers]


def test_layers_and_activations_stand_where_they_are_asked_for():
    model = models.Autoencoder(
        (12, 8, 5, 2), ["tanh", nn.ELU, None, nn.LeakyReLU(0.2)], code_activation=pn.neg, output_activation="sigmoid"
    )
    assert names(model.encoder) == ["Linear", "Tanh", "Linear", "ELU", "Linear", "Function"]
    assert names(model.decoder) == ["Linear", "Linear", "LeakyReLU", "Linear", "Sigmoid"]
    assert model.decoder[2].negative_slope == 0.2
    sizes = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(12, 8), (8, 5), (5, 2), (2, 5), (5, 8), (8, 12)]
    code = model.encode(pn.tensor(X))
    assert code.shape == (60, 2)
    np.testing.assert_array_equal(np.asarray(model(pn.tensor(X)).detach()), model.reconstruct(X, batch_size=60))
    np.testing.assert_array_equal(np.asarray(model.decode(code).detach()), model.reconstruct(X, batch_size=60))


def test_one_activation_serves_all_hidden_layers_and_each_gets_its_own_module():
    model = models.Autoencoder((12, 8, 5, 2), nn.PReLU())
    assert names(model.encoder) == ["Linear", "PReLU", "Linear", "PReLU", "Linear"]
    assert names(model.decoder) == ["Linear", "PReLU", "Linear", "PReLU", "Linear"]
    slopes = {id(m.weight) for m in model.modules() if isinstance(m, nn.PReLU)}
    assert len(slopes) == 4
    plain = models.Autoencoder((12, 3), bias=False)
    assert [p.shape for p in plain.parameters()] == [(3, 12), (12, 3)]
    wide = models.Autoencoder((12, 3), decoder_sizes=(3, 7, 20), dtype=np.float64)
    assert wide(pn.tensor(X.astype(np.float64))).shape == (60, 20)


def test_starts_as_the_same_layers_by_hand_do():
    pn.manual_seed(3)
    model = models.Autoencoder((12, 8, 2))
    pn.manual_seed(3)
    layers = [nn.Linear(12, 8), nn.Linear(8, 2), nn.Linear(2, 8), nn.Linear(8, 12)]
    by_hand = [np.asarray(p.detach()) for layer in layers for p in layer.parameters()]
    for p, expected in zip(model.parameters(), by_hand, strict=True):
        np.testing.assert_array_equal(np.asarray(p.detach()), expected)


def test_whole_arrays_are_worked_through_in_parts():
    model = models.Autoencoder((12, 8, 2), output_activation="sigmoid")
    model.train()
    codes = model.codes(X, batch_size=7)
    np.testing.assert_allclose(codes, np.asarray(model.encode(pn.tensor(X)).detach()), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.decoded(codes, batch_size=11), model.reconstruct(X), rtol=1e-5, atol=1e-6)
    assert model.training
    assert model.codes(X[:0]).shape == (0, 2)
    assert model.codes(X.astype(np.float64)).dtype == np.float32
    with pytest.raises(ValueError, match="batchwise: batch_size must be at least 1, got 0"):
        model.codes(X, batch_size=0)
    with pytest.raises(ValueError, match="x has 5 columns but weight expects 12"):
        model.codes(X[:, :5])


# ---- tied weights ----


def tied() -> models.Autoencoder:
    pn.manual_seed(1)
    return models.Autoencoder((12, 8, 2), "tanh", output_activation="sigmoid", tied=True)


def test_tied_weights_are_one_parameter_with_biases_apart():
    model = tied()
    assert model.decoder[0].weight is model.encoder[2].weight
    assert model.decoder[2].weight is model.encoder[0].weight
    found = [name for name, _ in model.named_parameters()]
    assert found == ["encoder.0.weight", "encoder.0.bias", "encoder.2.weight", "encoder.2.bias", "decoder.0.bias",
                     "decoder.2.bias"]  # fmt: skip
    assert model.decoder[2].bias.shape == (12,)
    assert models.Autoencoder((12, 3), tied=True, bias=False).decoder[0].bias is None
    assert "tied=True" in repr(model)


def test_tied_outputs_and_gradients_are_those_of_the_formula():
    model = tied().double()
    x = pn.tensor(X[:5].astype(np.float64))
    w1, b1, w2, b2, c1, c2 = (np.asarray(p.detach()) for p in model.parameters())
    code = np.tanh(X[:5] @ w1.T + b1) @ w2.T + b2
    expected = 1 / (1 + np.exp(-(np.tanh(code @ w2 + c1) @ w1 + c2)))
    np.testing.assert_allclose(np.asarray(model(x).detach()), expected, rtol=1e-12)

    def loss(weight):
        h = pn.tanh(x @ weight.T + b1) @ w2.T + b2
        y = pn.sigmoid(pn.tanh(h @ w2 + c1) @ weight + c2)
        return pn.square(y - x).mean()

    pn.square(model(x) - x).mean().backward()
    by_hand = pn.grad(loss)(pn.tensor(w1))
    np.testing.assert_allclose(np.asarray(model.encoder[0].weight.grad), np.asarray(by_hand), rtol=1e-9)


def test_tied_weights_stay_tied_when_copied_converted_and_loaded():
    model = copy.deepcopy(tied()).double()
    assert model.decoder[2].weight is model.encoder[0].weight
    assert model.decoder[2].weight.dtype == np.float64
    other = models.Autoencoder((12, 8, 2), "tanh", output_activation="sigmoid", tied=True)
    other.load_state_dict(tied().state_dict())
    np.testing.assert_array_equal(other.reconstruct(X), tied().reconstruct(X))
    assert other.decoder[0].weight is other.encoder[2].weight


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam])
def test_replayed_training_has_the_bits_of_the_eager_one(tie, optimizer):
    results = []
    for compile in (True, False):
        pn.manual_seed(2)
        model = models.Autoencoder((12, 8, 2), output_activation="sigmoid", tied=tie)
        trainer = pn.Trainer(model, nn.MSELoss(), optimizer(model.parameters(), lr=0.01))
        history = trainer.fit(X, epochs=4, batch_size=16, validation=X[:10], progress=False, compile=compile)
        results.append((history["loss"], history["val_loss"], model.reconstruct(X)))
    assert results[0][:2] == results[1][:2]
    np.testing.assert_array_equal(results[0][2], results[1][2])
    assert results[0][0][-1] < results[0][0][0]


def test_a_compiled_step_trains_tied_weights():
    model = tied()
    optimizer = optim.SGD(model.parameters(), lr=0.5)

    @pn.compile
    def step(x):
        optimizer.zero_grad()
        loss = pn.square(model(x) - x).mean()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(pn.tensor(X)).item() for _ in range(30)]
    assert losses[-1] < losses[0]
    assert model.decoder[2].weight is model.encoder[0].weight


# ---- refused ----


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (((12,),), {}, r"Autoencoder: sizes must be at least 2 integers above 0, .* got \(12,\)"),
        (((12, 0),), {}, "sizes must be at least 2 integers above 0"),
        (((12, 2.5),), {}, "sizes must be at least 2 integers above 0"),
        (((12, 8, 2), ["relu"]), {}, "Autoencoder: 1 activations for 2 hidden layers"),
        (((12, 8, 2), "rleu"), {}, "unknown activation 'rleu'; known are identity, relu"),
        (((12, 8, 2),), {"decoder_sizes": (3, 12)}, r"decoder_sizes \(3, 12\) must start with the 2 features"),
        (((12, 8, 2),), {"decoder_sizes": (2, 12), "tied": True}, r"tied weights need decoder_sizes \(2, 8, 12\)"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        models.Autoencoder(*arguments, **options)


def test_what_is_no_activation_is_refused():
    with pytest.raises(TypeError, match="an activation must be None, a name, a module or a function, got 3"):
        models.Autoencoder((12, 8, 2), 3)
    with pytest.raises(TypeError, match="the activation dict is a class, but no Module"):
        models.Autoencoder((12, 8, 2), dict)
    with pytest.raises(TypeError, match="TiedLinear: source must be a Linear, got Tanh"):
        models.TiedLinear(nn.Tanh())


def test_dense_stack():
    stack = models.dense((4, 8, 3), "relu", "tanh", bias=False)
    assert names(stack) == ["Linear", "ReLU", "Linear", "Tanh"]
    assert [p.shape for p in stack.parameters()] == [(8, 4), (3, 8)]
    assert names(models.dense((4, 3))) == ["Linear"]
