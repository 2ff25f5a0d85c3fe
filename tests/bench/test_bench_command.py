import json

import jax
import pytest

from purenet.bench import canaries, command, core_suite, shuffle_suite
from purenet.bench.contests import Contender, Contest, Suite
from purenet.bench.records import read_rows


def contest(case, *results):
    contenders = [Contender(f"c{i}", lambda r=r: r, float) for i, r in enumerate(results)]
    return Contest(case, "step", 1, "last loss", 0.01, contenders)


@pytest.fixture
def suites(monkeypatch):
    """Suites in place of the real ones: `good`, and `wrong`, one of whose rows is refused."""
    monkeypatch.setattr("purenet.bench.measuring._SAMPLE_SECONDS", 0.0)
    made = {
        "good": Suite("all agree", lambda quick: iter([contest("one", 1.0, 1.0), contest("two", 1.0)])),
        "wrong": Suite("one does not", lambda quick: iter([contest("three", 1.0, 2.0)])),
    }
    monkeypatch.setattr(command, "SUITES", made)
    return made


def usage_error(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


def test_an_unknown_suite_is_answered_with_those_there_are(capsys):
    assert usage_error(capsys, "core", "speed") == (
        "python -m purenet.bench: error: there is no suite 'speed'. Choose from: core, shuffle."
    )


def test_an_unwritable_file_is_found_before_anything_runs(capsys, tmp_path):
    path = tmp_path / "missing" / "results.json"
    assert usage_error(capsys, "--json", str(path)) == (
        f"python -m purenet.bench: error: cannot write to {path}: No such file or directory. "
        "Give --json a file in a folder that exists."
    )
    assert usage_error(capsys, "--json", str(tmp_path)).endswith(
        "Is a directory. Give --json a file in a folder that exists."
    )


def test_list_names_the_suites_and_runs_nothing(capsys):
    assert command.main(["--list"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out] == ["core", "shuffle"]


def test_the_first_lines_name_machine_and_software(capsys, suites):
    assert command.main(["good"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("device  ")
    for word in ("CPU cores", "python  ", f"jax {jax.__version__}", "jaxlib ", "XLA_FLAGS ", "canary  ok"):
        assert word in out


def test_columns_are_aligned_and_one_row_stands_for_each_contender(capsys, suites):
    command.main(["good"])
    lines = capsys.readouterr().out.splitlines()
    heading = lines.index(next(line for line in lines if "median" in line))
    rows = lines[heading + 1 : heading + 3]
    assert [row.split()[0] for row in rows] == ["c0", "c1"]
    end = lines[heading].index("compile") + len("compile")
    assert all(row[end - 1] == "s" and row[end] == " " for row in rows)


def test_a_refused_row_makes_the_status_non_zero(capsys, suites):
    assert command.main([]) == 1
    out = capsys.readouterr().out
    assert "ERROR refused: its last loss is 2, that of c0 1 (tolerance 0.01, relative)" in out
    assert out.splitlines()[-1] == "1 of 5 rows do not count: see ERROR above"


def test_a_dead_canary_is_shouted_and_makes_the_status_non_zero(capsys, suites, monkeypatch, tmp_path):
    wrong = canaries.Canary("sums", 0.008, 1e-6)
    monkeypatch.setattr(canaries, "CANARIES", (lambda: wrong,))
    path = tmp_path / "results.json"
    assert command.main(["good", "--json", str(path)]) == 1
    out = capsys.readouterr().out
    assert out.count("CANARY FAILED: sums: error 8.0e-03, allowed 1e-06") == 2  # before the numbers and after them
    assert json.loads(path.read_text(encoding="utf-8"))["canaries"][0]["alive"] is False


def test_the_canary_lives_here_and_sees_wrong_numbers():
    assert canaries.vmapped_products().alive
    assert not canaries.compare_with_float64("sums", [1.0, 2.01], [1.0, 2.0]).alive
    assert not canaries.compare_with_float64("sums", [1.0, float("nan")], [1.0, 2.0]).alive


def test_ctrl_c_keeps_what_is_finished(capsys, suites, monkeypatch, tmp_path):
    def interrupted(quick):
        yield contest("finished", 1.0, 1.0)
        raise KeyboardInterrupt

    monkeypatch.setitem(suites, "good", Suite("stopped", interrupted))
    path = tmp_path / "results.json"
    assert command.main(["--json", str(path)]) == 130
    out = capsys.readouterr().out
    assert "good: finished" in out
    assert "interrupted: 1 finished contests, printed above" in out
    assert [row.case for row in read_rows(str(path))] == ["finished", "finished"]
    assert json.loads(path.read_text(encoding="utf-8"))["finished"] is False


def test_results_that_cannot_be_written_in_the_end_are_said(capsys, suites, monkeypatch, tmp_path):
    def full(path, record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "write_record", full)
    assert command.main(["good", "--json", str(tmp_path / "results.json")]) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_the_real_suites_at_small_size(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(core_suite, "CASES", (core_suite.Case((2, 4, 1), 4, 32, 8),))
    monkeypatch.setattr(shuffle_suite, "SIZES", (100,))
    monkeypatch.setattr("purenet.bench.measuring._SAMPLE_SECONDS", 0.0)
    path = tmp_path / "results.json"
    assert command.main(["--quick", "--json", str(path)]) == 0, capsys.readouterr().out
    rows = read_rows(str(path))
    assert [(row.suite, row.case) for row in rows[::4]] == [
        ("core", "2-4-1 B=4"),
        ("shuffle", "n=100"),
    ]
    assert len(rows) == 6
    assert {row.per_call for row in rows} == {16, 1}
    for row in rows:
        assert row.error is None
        assert len(row.seconds) == command._QUICK_ROUNDS


def test_another_order_of_the_examples_is_refused(monkeypatch):
    case = core_suite.Case((6, 5, 3), 8, 32, 2)
    right = core_suite.make_contest(case)
    monkeypatch.setattr(core_suite, "order_of_epoch", lambda plan, key, step: jax.numpy.arange(plan.n))
    wrong = core_suite.make_contest(case)
    losses = [one.contenders[0].result(one.contenders[0].call()) for one in (right, wrong)]
    assert abs(losses[1] - losses[0]) > right.tolerance * losses[0]
