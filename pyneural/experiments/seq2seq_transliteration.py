"""Write Arabic words that are given in Latin letters ("shams") in Arabic script. Some Arabic letters take two Latin
ones (sh, kh, ...), so input and output are not aligned.

1. Which recurrent model can do that, and by which equations?
2. How does it look, unrolled?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import models, plots
from pyneural.data import TextBatches
from pyneural.experiments._differences import central_differences, gap
from pyneural.experiments._parallel import at_once
from pyneural.experiments._slips import slip
from pyneural.experiments._transliteration import (
    EMBEDDING,
    STATE,
    Task,
    exact_match,
    longest_match,
    make_model,
    make_task,
    train,
)
from pyneural.experiments.frame import Run, experiment

KINDS = ("aligned", "plain", "plain, not fed", "GRU", "GRU with attention")
LAST = 5  # epochs whose mean is compared: from one to the next, exact match varies by some hundredths


@experiment(
    "seq2seq-transliteration",
    title="Latin letters to Arabic script, sequence to sequence",
    source="002_e3b0b6e208b34aec.txt, mock exam 6",
    kind="train",
    topic="Sequences and graphs",
)
def run(e: Run) -> None:
    task = make_task(*e.pick(quick=(2500, 500), full=(10_000, 1000)), e.seed)
    words = [
        *zip(task.train.latin, task.train.arabic, strict=True),
        *zip(task.test.latin, task.test.arabic, strict=True),
    ]
    e.check("the longest match turns every word", np.mean([longest_match(w) == a for w, a in words]), 1, kind="equal")
    check_equations(e, task)
    check_padding(e, task)
    check_gradient(e, task)
    trained = learn(e, task)
    draw_diagram(e)
    show_words(e, task, trained)
    e.note(
        """
        The source writes x_t where the encoder takes the embedded letter e_t = A x_t; in the decoder's unit it writes
        the encoder's S_(t-1) and the output x'_t of the same step, where the decoder's own state s'_(t-1) and the
        output before must stand; and it passes y' through phi, though the logits of a softmax are free. The right
        equations are s_t = phi(N e_t + W s_(t-1) + b), s'_t = phi(V s'_(t-1) + V' x'_(t-1) + c), s'_0 = s_T,
        y'_t = U s'_t + d. In the module V' is the product of the decoder's input weights and its embedding.
        """
    )
    e.note(
        """
        Words are drawn letter by letter, so the letter before says nothing of the next one that the state does not
        hold. A decoder that learns with it needs it: decoding without it fails. One that never saw it learns a little
        faster (PyTorch's layers say the same): the statement that feeding helps holds for the decoding, not for the
        training on such words.
        """
    )


def check_equations(e: Run, task: Task) -> None:
    """The plain unit by the source's equations, one step after the other, beside the module; and the slips."""
    pn.manual_seed(e.seed)
    model: Any = make_model("plain", task, np.float64)
    p = {name: value.detach().numpy() for name, value in model.named_parameters()}
    a, n, w = p["source_embedding.weight"].T, p["encoder.weight_ih_l0"], p["encoder.weight_hh_l0"]
    b = p["encoder.bias_ih_l0"] + p["encoder.bias_hh_l0"]
    v, v_prime = p["decoder.weight_hh_l0"], p["decoder.weight_ih_l0"] @ p["target_embedding.weight"].T
    c, u, d = p["decoder.bias_ih_l0"] + p["decoder.bias_hh_l0"], p["head.weight"], p["head.bias"]
    x, x_prime = np.eye(len(task.latin)), np.eye(len(task.arabic))  # one-hot, by number
    source, target = task.test.sources[0], [model.START, *task.test.targets[0]]
    states = [np.zeros(STATE)]
    for letter in source:
        states.append(np.tanh(n @ (a @ x[letter]) + w @ states[-1] + b))
    with pn.no_grad():
        state = model.start(source[None])
        logits, _, _ = model.steps(state, pn.tensor([target]))
        hidden = model.decoder(model.target_embedding(pn.tensor(target).unsqueeze(1)), state.hidden[0])[0][:, 0].numpy()
    e.check("s_T of the module minus s_t = tanh(N A x_t + W s_(t-1) + b)",
            gap(state.hidden[0].numpy()[0, 0], states[-1]), 0, 1e-12)  # fmt: skip
    slip(e, "numbers that N takes", n.shape[1], len(a @ x[source[0]]), len(x[source[0]]), 0, note="A x_t, not x_t")
    own = [states[-1]]
    for letter in target:
        own.append(np.tanh(v @ own[-1] + v_prime @ x_prime[letter] + c))
    e.check("s'_t of the module minus tanh(V s'_(t-1) + V' x'_(t-1) + c)", gap(hidden, np.array(own[1:])), 0, 1e-12)
    right = float(own[2][0])
    slip(e, "first unit of s'_2, with the encoder's state in the place of s'_1", float(hidden[1, 0]), right,
         float(np.tanh(v @ states[1] + v_prime @ x_prime[target[1]] + c)[0]), 1e-9)  # fmt: skip
    slip(e, "first unit of s'_2, with the output of the same step", float(hidden[1, 0]), right,
         float(np.tanh(v @ own[1] + v_prime @ x_prime[target[2]] + c)[0]), 1e-9)  # fmt: skip
    y = u @ own[1] + d
    e.check("y'_1 of the module minus U s'_1 + d", gap(logits.numpy()[0, 0], y), 0, 1e-12)
    k = int(np.abs(y).argmax())  # the larger, the more tanh changes it
    slip(e, "largest logit of y'_1, passed through tanh", float(logits.numpy()[0, 0, k]), float(y[k]),
         float(np.tanh(y)[k]), 1e-9)  # fmt: skip


def check_padding(e: Run, task: Task) -> None:
    """A batch of words of different lengths has the loss of the words one by one."""
    batch = TextBatches(task.test.sources, task.test.targets, round_to=14).batch(range(20))
    for kind in ("plain", "GRU with attention"):
        pn.manual_seed(e.seed)
        model = make_model(kind, task)
        with pn.no_grad():
            padded = models.sequence_loss(model(batch.source, batch.source_lengths, batch.target_in), batch.target_out)
            total = 0.0
            for i in range(20):
                source, target = task.test.sources[i], task.test.targets[i]
                alone = model(source[None], None, np.array([[models.Seq2Seq.START, *target]]))
                total += models.sequence_loss(alone, np.array([[*target, 2]]), reduction="sum").item()
        symbols = sum(len(t) + 1 for t in task.test.targets[:20])
        e.check(
            f"{kind}: loss of 20 padded words minus that of the words alone", padded.item() - total / symbols, 0, 1e-6
        )


def check_gradient(e: Run, task: Task) -> None:
    """The gradient through time, of encoder and decoder, against central differences."""
    batch = TextBatches(task.test.sources, task.test.targets).batch(range(3))
    for kind in ("plain", "GRU"):
        pn.manual_seed(e.seed)
        model: Any = make_model(kind, task, np.float64)
        for name, p in (("encoder", model.encoder.weight_hh_l0), ("decoder", model.decoder.weight_hh_l0)):
            model.zero_grad()
            loss = lambda m=model: models.sequence_loss(m(*batch[:3]), batch.target_out)  # noqa: E731
            loss().backward()
            start, rows = p.detach().numpy().copy(), (slice(None, None, 31), slice(None, None, 9))

            def moved(part: np.ndarray, p: Any = p, start: Any = start, rows: Any = rows, loss: Any = loss) -> float:
                with pn.no_grad():
                    values = start.copy()
                    values[rows] = part
                    p.copy_(values)
                    return loss().item()

            measured = central_differences(moved, start[rows])
            e.check(f"{kind}: dL/dW of the {name}, autodiff minus central differences",
                    gap(p.grad.numpy()[rows], measured), 0, 1e-6)  # fmt: skip
            moved(start[rows])


def learn(e: Run, task: Task) -> dict[str, Any]:
    """Trains the five models, side by side; asserts their order."""
    epochs = e.epochs(40)
    found = {}
    for kind in KINDS:
        pn.manual_seed(e.seed)
        found[kind] = make_model(kind, task)

    def job(kind: str) -> Any:
        return lambda stop: np.array(list(train(found[kind], task, epochs, e.seed)))

    curves = at_once(e, {kind: job(kind) for kind in KINDS}, "trainings")
    final = {kind: float(curves[kind][-LAST:, 1].mean()) for kind in KINDS}
    e.table("models", ["model", "loss of the last epoch", "exact match", "mean of the last five epochs"],
            [[kind, curves[kind][-1, 0], curves[kind][-1, 1], final[kind]] for kind in KINDS],
            "Share of test words without a mistake, written greedily.")  # fmt: skip
    gru = curves["GRU with attention"][-1, 1]
    e.check("GRU with attention: exact match on the test words", gru, 0.98, kind="at least", profile="full")
    e.check("exact match of a GRU", max(gru, curves["GRU"][-1, 1]), 0.95, kind="above", profile="full")
    e.check("plain unit minus aligned baseline, mean of the last five epochs", final["plain"] - final["aligned"], 0.1,
            kind="above", profile="full")  # fmt: skip
    e.check("both below the GRU with attention by more than", gru - max(final["plain"], final["aligned"]), 0.3,
            kind="above", profile="full")  # fmt: skip
    losses = [float(curves[kind][-1, 0]) for kind in KINDS]
    e.check("lowest loss", KINDS[int(np.argmin(losses))], "GRU with attention", kind="equal")
    model = found["plain"]
    model.feed = False
    unfed = final["plain"] - exact_match(model, task, task.test)
    e.check("plain unit: fed minus not fed with the letter before", unfed, 0.1, kind="above", profile="full")
    model.feed = True
    e.report("plain unit that is never fed, in training neither", final["plain, not fed"])
    if e.full:
        half = {k: float(curves[k][15:20, 1].mean()) for k in ("plain", "aligned")}
        e.report("epochs 16 to 20: plain unit, aligned baseline", [half["plain"], half["aligned"]])
    x = np.arange(1, epochs + 1)
    fig, (left, right) = plots.new(1, 2, width=10, height=3.6)
    plots.lines(
        x, {k: c[:, 0] for k, c in curves.items()}, title="Loss per symbol", xlabel="epoch", log=True, axes=left
    )
    plots.lines(x, {k: c[:, 1] for k, c in curves.items()}, title="Exact match, test words", xlabel="epoch", axes=right)
    e.figure("learning", fig, "Training loss with teacher forcing, and the share of test words without a mistake.",
             {"epoch": x} | {k.replace(" ", "_").replace(",", ""): c for k, c in curves.items()})  # fmt: skip
    return found


def show_words(e: Run, task: Task, trained: dict[str, Any]) -> None:
    """Ten words as each model writes them, and what attention looks at while one is written."""
    batch = TextBatches(task.test.sources[:10], task.test.targets[:10], 10, shuffle=False).batch(range(10))
    rows = [[task.test.latin[i], task.test.arabic[i]] for i in range(10)]
    for kind in KINDS[1:]:
        for row, written in zip(
            rows, models.greedy(trained[kind], batch.source, batch.source_lengths, 12), strict=True
        ):
            row.append(task.arabic.decode(written))
    e.table("words", ["Latin letters", "right", *KINDS[1:]], rows, "The first ten test words.")
    model, i = trained["GRU with attention"], max(range(50), key=lambda i: len(task.test.latin[i]))
    source, target = task.test.sources[i], task.test.targets[i]
    best = models.beam_search(model, source[None], None, 12, width=5)[0]
    e.table("beam", ["word", "log-probability"], [[task.arabic.decode(h.symbols), h.log_probability] for h in best],
            f"The five best words that a beam of width 5 finds for {task.test.latin[i]}.")  # fmt: skip
    with pn.no_grad():
        weights = model.steps(model.start(source[None]), pn.tensor([[model.START, *target]]))[2].numpy()[0]
    names = [*task.test.arabic[i], "end"]
    fig = plots.heat_map(weights, names, list(task.test.latin[i]), low=0, high=1, xlabel="letter read",
                         ylabel="letter written", title=f"{task.test.latin[i]}, by a GRU with attention",
                         cells=[[f"{w:.2f}" if w >= 0.005 else "" for w in row] for row in weights])  # fmt: skip
    caption = "Each row: the shares of the encoder's states while the letter on the left is written."
    e.figure("attention", fig, caption, {"weights": weights, "source": source, "target": target})


def draw_diagram(e: Run) -> None:
    """Encoder and decoder unrolled over a word of three letters in, two out."""
    fig, ax = plots.new(width=10, height=4.2)
    with plots.style():
        frame = {"boxstyle": "round,pad=0.45", "facecolor": "#f2f2f2", "edgecolor": "#888888"}

        def box(x: float, y: float, text: str) -> None:
            ax.text(x, y, text, ha="center", va="center", fontsize=10, bbox=frame)

        def arrow(start: tuple[float, float], end: tuple[float, float], text: str, side: float = 0.16) -> None:
            ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": plots.LINES[0], "shrinkA": 13,
                                                    "shrinkB": 13})  # fmt: skip
            x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
            ax.text(x + (side if start[0] == end[0] else 0), y + (0 if start[0] == end[0] else 0.14), text,
                    ha="center", va="center", fontsize=9, color=plots.LINES[0])  # fmt: skip

        for t, letter in enumerate(("s", "h", "a"), 1):
            box(1.6 * t, 0, f"$x_{t}$ = {letter}")
            box(1.6 * t, 1, f"$e_{t}$")
            box(1.6 * t, 2, f"$s_{t}$")
            arrow((1.6 * t, 0), (1.6 * t, 1), "A")
            arrow((1.6 * t, 1), (1.6 * t, 2), "N")
            if t > 1:
                arrow((1.6 * t - 1.6, 2), (1.6 * t, 2), "W")
        for t, letter in enumerate(("\N{ARABIC LETTER SHEEN}", "\N{ARABIC LETTER ALEF}", "end"), 1):
            x = 4.8 + 1.8 * t
            box(x, 0, "$x'_0$ = start" if t == 1 else f"$x'_{t - 1}$")
            box(x, 2, f"$s'_{t}$")
            box(x, 3, f"$y'_{t}$")
            box(x, 4, f"$x'_{t}$ = {letter}")
            arrow((x, 0), (x, 2), "V'")
            arrow((x, 2), (x, 3), "U")
            arrow((x, 3), (x, 4), "softmax", 0.36)
            arrow((x - 1.8, 2), (x, 2), "V")
        ax.set(xlim=(0.8, 11), ylim=(-0.5, 4.5))
        ax.axis("off")
    caption = "The last state of the encoder is the decoder's first; each output is the decoder's next input."
    e.figure("diagram", fig, caption, {"embedding": EMBEDDING, "state": STATE})
