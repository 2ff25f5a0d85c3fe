"""Larger networks in the bench: everyone trains the same, and what they are told is what `pn.train` begins with."""

import importlib

import chex
import jax
import numpy as np
import pytest

from purenet.bench import attention_suite, conv_suite, recurrent_suite
from purenet.bench.contests import Settings
from purenet.bench.measuring import measure
from purenet.bench.network_contests import many_contest, step_contest
from purenet.bench.networks import (
    build,
    cnn_task,
    lstm_task,
    make_problem,
    params_of,
    scaled,
    transformer_task,
    weights_of,
)
from purenet.bench.peers import OURS, PEERS, find_folder, write_problem
from purenet.bench.problems import Case, cost_of
from purenet.bench.problems import make_problem as make_dense_problem
from purenet.bench.suites import SUITES

pytestmark = pytest.mark.slow

TASKS = [
    cnn_task(8, (3, 4), 5, batch=4, n=8, epochs=2),
    lstm_task(5, 3, 6, batch=4, n=8, epochs=2),
    transformer_task(9, 6, 32, 2, batch=2, n=4, epochs=2),
]
BY_KIND = {task.kind: task for task in TASKS}


@pytest.fixture
def worker(monkeypatch):
    """The module that runs in the peers' processes."""
    monkeypatch.syspath_prepend(find_folder())
    return importlib.import_module("worker")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_a_step_by_hand_is_that_of_train(task):
    rows = measure("networks", step_contest(task, 1.0, scanned=True), rounds=1)
    assert [row.error for row in rows] == [None] * 4
    assert {row.per_call for row in rows} == {task.epochs * task.n // task.batch}


def test_networks_together_are_networks_one_after_the_other():
    rows = measure("networks", many_contest(BY_KIND["cnn"], 3, 1.0), rounds=1)
    assert [(row.error, row.per_call) for row in rows] == [(None, 3 * 2 * 2)] * 3


def test_everyones_gradient_of_an_lstm_is_the_same():
    contest = recurrent_suite.gradient_contest((4, 3, 2, 5), 2, "float32", 0.5)
    rows = measure("networks", contest, rounds=1)
    assert [row.error for row in rows] == [None] * 3
    # Four gates of 2 + 5 inputs and 5 units, at 4 steps of 3 examples; as much again for the kernels' gradients, and
    # for what goes back through time.
    forward = 2 * 4 * 3 * (2 + 5) * 4 * 5
    assert contest.cost.flops == forward + forward + 2 * 4 * 3 * 5 * 4 * 5


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_weights_and_params_are_each_others_inverse(task):
    problem = make_problem(task)
    assert [tuple(a.shape for a in layer) for layer in problem.weights] == [tuple(layer) for layer in task.shapes]
    again = params_of(task.kind, problem.weights)
    chex.assert_trees_all_equal(again, problem.start.params)
    chex.assert_trees_all_equal(weights_of(task.kind, again), problem.weights)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_the_yardstick_is_the_network(task, worker, tmp_path):
    problem = make_problem(task)
    write_problem(problem, tmp_path / "problem.npz")
    read = worker.load(tmp_path / "problem.npz")
    assert (read.kind, read.loss, read.epochs) == (task.kind, "softmax_cross_entropy", task.epochs)
    assert read.xs.shape == (task.epochs * task.n // task.batch, task.batch, *task.example)
    outputs = jax.vmap(problem.net.apply, (None, 0))(problem.start.params, problem.data.xs)
    np.testing.assert_allclose(worker.yardsticks.outputs(read, read.weights, read.examples[0]), outputs, atol=2e-5)
    mean = np.mean(jax.vmap(problem.loss.value)(outputs, problem.data.ys))
    assert worker.mean_loss(read, read.weights) == pytest.approx(float(mean), rel=1e-5)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
@pytest.mark.parametrize("name", ["purenet", "torch", "keras", "flax"])
@pytest.mark.filterwarnings("ignore")  # the peers' warnings are theirs
def test_every_peer_ends_at_the_same_loss(name, task, worker, tmp_path):
    peer = {"purenet": OURS, **PEERS}[name]
    if task.kind not in peer.kinds:
        pytest.skip(f"{name} does not take part in races of {task.kind}s")
    pytest.importorskip(peer.module, reason=f"{peer.module} is not installed: it belongs to the extra peers")
    problem = make_problem(task)
    write_problem(problem, tmp_path / "problem.npz")
    read = worker.load(tmp_path / "problem.npz")
    train = importlib.import_module("with_purenet").CONTENDERS["pn.train"]
    start, run, weights = train(read)
    wanted = worker.mean_loss(read, weights(run(start())))
    assert abs(worker.mean_loss(read, read.weights) - wanted) > 1e-4 * wanted
    contenders = importlib.import_module(peer.file).CONTENDERS
    for contender in peer.kinds[task.kind]:
        told = worker.measure(read, contenders[contender], 0.0)
        assert told["result"] == pytest.approx(wanted, rel=1e-5)


def test_dense_networks_are_built_from_their_shapes_too():
    problem = make_dense_problem(Case((3, 4, 1), 2, 4, 1))
    shapes = [[a.shape for a in layer] for layer in problem.weights]
    assert repr(build("mlp", shapes, "tanh")) == repr(problem.net)
    chex.assert_trees_all_equal(params_of("mlp", problem.weights), problem.start.params)


def test_suites_make_their_contests(monkeypatch):
    for suite, name, kind in (
        (conv_suite, "CNN", "cnn"),
        (recurrent_suite, "ROWS", "lstm"),
        (attention_suite, "CHARACTERS", "transformer"),
    ):
        monkeypatch.setattr(suite, name, BY_KIND[kind])
    monkeypatch.setattr(recurrent_suite, "SIZES", (((4, 3, 2, 5), 2), ((2, 2, 2, 2), 1)))
    assert {
        name: [contest.case for contest in SUITES[name].contests(Settings())]
        for name in ("conv", "recurrent", "attention")
    } == {
        "conv": ["CNN B=4", "8 of CNN B=4"],
        "recurrent": ["LSTM T=4 B=3 2-5", "LSTM T=2 B=2 2-2", "LSTM 5x3-6 B=4"],
        "attention": ["transformer 2x32 B=2"],
    }
    assert len(list(SUITES["conv"].contests(Settings(quick=True)))) == 1


def test_races_want_what_is_offered():
    for name in ("conv", "recurrent", "attention"):
        (race,) = SUITES[name].races(Settings())
        offered = {contender for peer in PEERS.values() for contender in peer.kinds.get(race.case.kind, ())}
        assert set(race.wanted) <= offered


def test_a_task_is_scaled_to_what_was_asked_for():
    task = scaled(TASKS[1], Settings(quick=True, dtype="bfloat16"))
    assert (task.epochs, task.dtype) == (1, "bfloat16")
    problem = make_problem(task)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(problem.start.params)} == {"bfloat16"}
    assert cost_of(problem).examples == task.batch
