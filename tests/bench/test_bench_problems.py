import ast
import importlib

import jax
import numpy as np
import pytest

from purenet.bench import gradient_suite, problems
from purenet.bench.contests import Settings
from purenet.bench.measuring import measure
from purenet.bench.peers import OURS, PEERS, find_folder, write_problem
from purenet.bench.problems import Case, cost_of, make_problem, products_of
from purenet.bench.suites import SUITES
from purenet.bench.train_suites import RACES, make_contest, products_contest
from purenet.bench.wide_suite import fitting_case

pytestmark = pytest.mark.slow

SMALL = Case((6, 5, 3), 8, 32, 2)
REGRESSION = Case((2, 4, 1), 4, 32, 8)


@pytest.fixture
def worker(monkeypatch):
    """The module that runs in the peers' processes."""
    monkeypatch.syspath_prepend(find_folder())
    return importlib.import_module("worker")


@pytest.mark.parametrize("case", [SMALL, REGRESSION], ids=lambda case: case.name)
def test_everyone_in_a_contest_does_the_same(case):
    rows = measure("train", make_contest(case), rounds=1)
    assert [row.error for row in rows] == [None] * 4
    assert {row.per_call for row in rows} == {case.epochs * case.n // case.batch}
    rows = measure("gradient", gradient_suite.make_contest(case), rounds=1)
    assert [row.error for row in rows] == [None] * 3


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_the_dtype_asked_for_is_that_of_weights_and_data(dtype):
    problem = make_problem(SMALL._replace(dtype=dtype))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((problem.start.params, problem.data.xs))} == {dtype}
    rows = measure("train", make_contest(SMALL._replace(dtype=dtype)), rounds=1)
    assert [row.error for row in rows] == [None] * 4
    assert {row.arithmetic for row in rows} == {dtype}


def test_the_cost_of_an_update_is_that_of_its_products():
    for case in (SMALL, REGRESSION, Case((7,) * 9, 5, 20, 1)):
        flops = sum(2 * rows * inner * columns for (rows, inner), (_, columns) in products_of(case))
        cost = cost_of(make_problem(case))
        assert (cost.flops, cost.examples) == (flops, case.batch)
    # 48 weights and biases, thrice with Adam's moments and its count, read and written; 8 rows of 6, and labels
    assert cost_of(make_problem(SMALL)).bytes == 2 * 4 * (3 * (6 * 5 + 5 + 5 * 3 + 3) + 1) + 4 * 8 * (6 + 1)


def test_the_products_alone_are_timed_without_a_number_to_agree_on():
    rows = measure("train", products_contest(SMALL), rounds=1)
    assert [(row.contender, row.error, row.result) for row in rows] == [
        ("its products alone", None, None),
        ("pn.train, autodiff", None, None),
    ]


def test_another_order_of_the_examples_is_refused(monkeypatch):
    right = make_contest(SMALL)
    monkeypatch.setattr(problems, "order_of_epoch", lambda plan, key, step: jax.numpy.arange(plan.n))
    wrong = make_contest(SMALL)
    rows = measure("train", right._replace(contenders=[wrong.contenders[0], *right.contenders[1:]]), rounds=1)
    assert all(row.error.startswith("refused: its mean loss of the last epoch is ") for row in rows[1:])


def test_every_suite_makes_its_contests():
    for name in ("train-tiny", "shuffle", "startup", "compile"):
        assert next(iter(SUITES[name].contests(Settings(quick=True)))).contenders
    names = [contest.case for contest in SUITES["train-wide"].contests(Settings(quick=True))]
    width = fitting_case(Settings(quick=True)).widths[0]
    assert [name.split()[0] for name in names] == [f"8x{width}"]


@pytest.mark.parametrize("case", [SMALL, REGRESSION], ids=lambda case: case.name)
def test_peers_are_handed_the_mini_batches_that_train_takes(case, worker, tmp_path):
    problem = make_problem(case)
    write_problem(problem, tmp_path / "problem.npz")
    read = worker.load(tmp_path / "problem.npz")
    steps = case.epochs * case.n // case.batch
    assert (read.widths, read.rate, read.epochs, read.seed) == (case.widths, 1e-3, case.epochs, 0)
    assert read.xs.shape == (steps, case.batch, case.widths[0])
    assert len(read.ys) == steps
    assert np.array_equal(
        np.sort(read.xs[: steps // case.epochs].reshape(case.n, -1), axis=0), np.sort(problem.data.xs, axis=0)
    )
    assert not np.array_equal(read.xs[0], problem.data.xs[: case.batch])
    for (kernel, bias), params in zip(read.weights, [p for p in problem.start.params if p], strict=True):
        assert np.array_equal(kernel, params["kernel"])
        assert np.array_equal(bias, params["bias"])
    outputs = jax.vmap(problem.net.apply, (None, 0))(problem.start.params, problem.data.xs)
    mean = np.mean(jax.vmap(problem.loss.value)(outputs, problem.data.ys))
    assert worker.mean_loss(read, read.weights) == pytest.approx(float(mean), rel=1e-5)


def test_the_table_of_peers_says_what_their_files_offer():
    for peer in (OURS, *PEERS.values()):
        tree = ast.parse((find_folder() / f"{peer.file}.py").read_text(encoding="utf-8"))
        assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
        named = {ast.unparse(node.targets[0]): node.value for node in assigned}
        assert tuple(key.value for key in named["CONTENDERS"].keys) == peer.contenders
        assert isinstance(ast.literal_eval(named["PACKAGES"]), tuple)


@pytest.mark.parametrize("case", [SMALL, REGRESSION], ids=lambda case: case.name)
@pytest.mark.parametrize("name", ["purenet", *PEERS])
@pytest.mark.filterwarnings("ignore")  # the peers' warnings are theirs
def test_every_peer_ends_at_the_same_loss(name, case, worker, tmp_path):
    peer = {"purenet": OURS, **PEERS}[name]
    pytest.importorskip(peer.module, reason=f"{peer.module} is not installed: it belongs to the extra peers")
    write_problem(make_problem(case), tmp_path / "problem.npz")
    problem = worker.load(tmp_path / "problem.npz")
    start, run, weights = importlib.import_module("with_jax").scan_by_hand(problem)
    wanted = worker.mean_loss(problem, weights(run(start())))
    assert abs(worker.mean_loss(problem, problem.weights) - wanted) > 1e-3 * wanted
    for contender in importlib.import_module(peer.file).CONTENDERS.values():
        told = worker.measure(problem, contender, 0.0)
        assert told["result"] == pytest.approx(wanted, rel=1e-4)
        assert told["seconds"] > 0
        assert told["runs"] == 3


def test_what_is_wanted_is_wanted_of_contenders_that_there_are():
    offered = {name for peer in PEERS.values() for name in peer.contenders}
    for race in RACES.values():
        assert set(race.wanted) <= offered
