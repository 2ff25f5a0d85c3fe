"""Every example runs, briefly, and what it shows is so."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS_DATA = pytest.mark.skipif(
    "PURENET_DATA" not in os.environ, reason="PURENET_DATA, the folder of mnist and tinyshakespeare, is not set"
)
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "figures")


@pytest.fixture
def example(monkeypatch):
    """Gives an example by name, as the module that running it would make."""
    monkeypatch.syspath_prepend(EXAMPLES)

    def load(name):
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def run(module, folder, *args):
    """Runs an example in short form, and expects the figure."""
    facts = module.main([*args, "--out", str(folder)])
    figure = folder / f"{Path(module.__file__).stem}.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert figure.stat().st_size > 20_000
    return facts


def test_every_example_has_a_test():
    tested = {
        name.removeprefix("test_the_").removesuffix("_example")
        for name in globals()
        if name.startswith("test_the_") and name.endswith("_example")
    }
    assert tested == set(SCRIPTS)


def test_the_digits_example(example, tmp_path, capsys):
    facts = run(example("digits"), tmp_path, "--epochs", "5")
    assert facts["accuracy"] > 0.93
    assert facts["difference"] < 1e-6
    assert facts["history"]["loss"][-1] < facts["history"]["loss"][0] / 3
    printed = capsys.readouterr().out
    assert printed.count("held out: loss") == 2  # epochs 1 and 5: a log shows that it learns
    assert "accuracy of 97.5% not checked: it takes 30 epochs" in printed


@NEEDS_DATA
def test_the_mnist_example(example, tmp_path, capsys):
    facts = run(example("mnist"), tmp_path, "--epochs", "1", "--limit", "6016")
    assert facts["accuracy"] > 0.87
    assert "the promise of 98.3% is checked from 10 epochs of all digits on" in capsys.readouterr().out


@pytest.mark.slow
def test_the_not_learning_example(example, tmp_path, capsys):
    facts = run(example("not_learning"), tmp_path, "--epochs", "3")
    assert facts["named"][:2] == ["probabilities_as_logits", "inputs_unscaled"]
    assert set(facts["named"][2:]) == {"rate_too_high"}
    assert max(facts["accuracies"][:-1]) < 0.3 < 0.5 < facts["accuracies"][-1]
    assert capsys.readouterr().out.endswith("accuracy of 95% not checked: it takes 15 epochs\n")


@pytest.mark.slow
@NEEDS_DATA
def test_the_mnist_cnn_example(example, tmp_path, capsys):
    facts = run(example("mnist_cnn"), tmp_path, "--epochs", "1", "--limit", "6016")
    assert facts["accuracy"] > 0.75
    assert "the promise of 99.2% is checked from 10 epochs of all digits on" in capsys.readouterr().out


@pytest.mark.slow
@NEEDS_DATA
def test_the_sequence_example(example, tmp_path, capsys):
    facts = run(example("sequence"), tmp_path, "--epochs", "1", "--limit", "6016")
    assert facts["accuracy"] > 0.5
    assert "the promise of 98% is checked from 4 epochs of all digits on" in capsys.readouterr().out


@pytest.mark.slow
@NEEDS_DATA
@pytest.mark.parametrize("net", ["transformer", "lstm"])
def test_the_shakespeare_example(net, example, tmp_path, capsys):
    facts = run(example("shakespeare"), tmp_path, "--net", net, "--steps", "30", "--letters", "80", "--estimates", "5")
    assert len(facts["losses"]) == 30
    assert 2.0 < facts["loss"] < np.log(65) - 0.3  # better than all letters alike
    assert len(facts["sample"]) == 80
    assert set(facts["sample"]) <= set(facts["alphabet"])
    printed = capsys.readouterr().out
    assert facts["sample"] in printed
    assert "the promise of 1.88 nats is the transformer's, after 2000 updates" in printed


def test_the_shakespeare_example_says_where_the_text_is_to_be_had(example, tmp_path):
    with pytest.raises(SystemExit, match=r"^shakespeare: expected the text in .*, got no file\. Fetch https://"):
        example("shakespeare").main(["--data", str(tmp_path / "none.txt")])


def test_the_multi_input_example(example, tmp_path, capsys):
    facts = run(example("multi_input"), tmp_path, "--epochs", "2")
    assert facts["right"] > 0.6
    assert facts["told_apart"] > 0.7
    assert facts["history"]["val_loss"][1] < facts["history"]["val_loss"][0]
    assert "the promise of 96% is checked from 12 epochs on" in capsys.readouterr().out


def test_the_gradient_descent_example(example):  # more in test_gradient_descent.py
    assert abs(example("gradient_descent").descents()["a"].path[-1] + 2.5) < 0.05


@pytest.mark.slow
def test_the_optimizers_example(example, capsys):
    results = example("optimizers").main(["--only", "Adam", "--share", "0.1"])
    losses = {title: {row.name: row.loss for row in rows} for title, rows in results.items()}
    assert losses["digits"]["Adam"] < 1.0
    printed = capsys.readouterr().out
    assert "steps to 0.05" in printed
    assert printed.endswith("nothing is promised of a shorter race\n")


@pytest.mark.slow
def test_the_playground_example(example, tmp_path, capsys):
    page, film = tmp_path / "page.html", tmp_path / "film.gif"
    facts = example("playground").main(
        ["--data", "moons", "--points", "200", "--epochs", "8", "--out", str(page), "--film", str(film)]
    )
    assert facts["accuracy"] > 0.75
    assert len(facts["result"].snapshots) == 9
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert film.read_bytes().startswith(b"GIF89a")
    assert "the promise of 97% is checked" in capsys.readouterr().out


def test_the_newton_example(example, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PURENET_DATA", raising=False)
    facts = run(example("newton"), tmp_path)
    assert facts["distance"] < 1e-10
    assert facts["races"] == {}
    assert "no race on MNIST" in capsys.readouterr().out


@NEEDS_DATA
@pytest.mark.slow
def test_the_newton_example_races_on_mnist(example, tmp_path, capsys):
    facts = run(example("newton"), tmp_path, "--limit", "1024", "--most", "20")
    assert set(facts["races"]) == set(example("newton").RACERS)
    assert "a quarter of Adam's steps is checked on all of MNIST with up to 800 steps" in capsys.readouterr().out


def test_the_online_ftrl_example(example, tmp_path, capsys):
    facts = run(example("online_ftrl"), tmp_path, "--examples", "8192")
    zeros = {name: method["named zeros"] for name, method in facts["methods"].items()}
    assert zeros.pop("FTRL, l1") > 0.9
    assert max(zeros.values()) == 0
    assert facts["truth"] < facts["methods"]["FTRL"]["loss"] < facts["chance"]
    assert "the result is checked from 262144 examples on" in capsys.readouterr().out


def test_the_xor_example(example, tmp_path):
    facts = run(example("xor"), tmp_path, "--steps", "400", "--nets", "200")
    assert facts["codes"].tolist() == [[0, 0], [1, 0], [1, 0], [2, 1]]
    assert facts["known"].ravel().tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(facts["one_layer"].ravel(), 0.5, atol=1e-5)
    assert facts["error"] == pytest.approx(1 / 8, abs=1e-7)
    shares = {width: success.mean() for width, (_, _, success) in facts["found"].items()}
    assert shares[2] < shares[4] < shares[8]
    assert shares[8] > 0.6
    for losses, middle, success in facts["found"].values():
        assert losses.shape == middle.shape == success.shape == (200,)
        assert losses[success].max() < 0.005  # each answer within 0.1: at most ½ · 0.1²


def test_the_backprop_by_hand_example(example, capsys):
    facts = example("backprop_by_hand").main([])
    known = {
        "net h1": "0.377500000",
        "h1": "0.593269992",
        "o1": "0.751365070",
        "o2": "0.772928465",
        "loss": "0.298371109",
        "dL/dw5": "0.082167041",
        "w1": "0.149780716",
        "w5": "0.358916480",
        "w6": "0.408666186",
        "w7": "0.511301270",
        "w8": "0.561370121",
    }
    assert {name: f"{facts[name]:.9f}" for name in known} == known
    printed = capsys.readouterr().out
    assert all(number in printed for number in known.values())
    by_hand = {name: value for name, value in facts.items() if f"automatic {name}" in facts}
    assert len(by_hand) == 12
    for name, value in by_hand.items():
        assert value == pytest.approx(facts[f"automatic {name}"], rel=1e-12)
    assert facts["first loss after"] < facts["loss"]
    assert facts["last loss"] < 1e-4
    exact = {"dJ/da": 12, "dJ/db": 18, "dJ/dc": 3, "f": -28, "df/dx": -4, "df/dy": -4, "df/dz": 7}
    assert {name: facts[name] for name in exact} == exact


def test_the_linear_regression_example(example, tmp_path):
    facts = run(example("linear_regression"), tmp_path, "--epochs", "2000")
    assert {size: line.shape for size, line in facts["lines"].items()} == {
        1: (2000, 10, 2),
        5: (2000, 2, 2),
        10: (2000, 1, 2),
    }
    assert max(facts["gaps"].values()) < 2e-3
    first = {size: np.abs(line[0, -1] - facts["best"]).max() for size, line in facts["lines"].items()}
    assert first[1] < first[5] < first[10]  # the fewer points an update takes, the farther the first epoch gets


def test_an_example_fails_where_its_promise_is_not_kept(example, tmp_path, monkeypatch):
    """Twenty epochs do not reach least squares; told that they are the default, the example must say so."""
    linear_regression = example("linear_regression")
    monkeypatch.setattr(linear_regression, "EPOCHS", 20)
    with pytest.raises(SystemExit, match=r"^linear_regression: expected to end within 0\.001 of least squares, got "):
        linear_regression.main(["--epochs", "20", "--out", str(tmp_path)])


def test_the_logistic_regression_example(example, tmp_path):
    facts = run(example("logistic_regression"), tmp_path, "--steps", "100")
    for name in ("yes or no", "one of three", "three labels"):
        assert facts[name] > 0.9
    settles = int(np.argmax(facts["mistakes"] == 0))
    assert 1 <= settles < 20
    assert not facts["mistakes"][settles:].any()
    assert len(facts["xor_mistakes"]) == 1000
    assert facts["xor_mistakes"].all()
    assert facts["period"] == 1


def test_without_matplotlib_the_remedy_is_named():
    code = "import sys; sys.modules['matplotlib'] = None; import figures"
    done = subprocess.run([sys.executable, "-c", code], cwd=EXAMPLES, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        'This example draws a figure with Matplotlib, which is missing: pip install "purenet[examples]"\n'
    )
