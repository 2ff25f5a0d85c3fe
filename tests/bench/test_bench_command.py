import json

import jax
import pytest

from purenet.bench import canaries, command, running
from purenet.bench.contests import Contender, Contest, Race, Suite
from purenet.bench.peaks import Peak, Peaks
from purenet.bench.peers import OURS, PEERS
from purenet.bench.problems import Case, make_problem
from purenet.bench.records import read_record, rows_of_record
from purenet.bench.suites import SUITES

PEAKS = Peaks({"float32 default": Peak("float32 default", 1e11, 512)}, 1e10, 1e-5, 1e-2)


def read_rows(path):
    return rows_of_record(read_record(path))


def contest(case, *results):
    contenders = [Contender(f"c{i}", lambda r=r: r, float) for i, r in enumerate(results)]
    return Contest(case, "step", 1, "last loss", 0.01, contenders)


@pytest.fixture
def suites(monkeypatch):
    """Suites in place of the real ones: `good`, and `wrong`, one of whose rows is refused."""
    monkeypatch.setattr("purenet.bench.measuring._SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(command, "measure_peaks", lambda quick, dtype: PEAKS)
    made = {
        "good": Suite("all agree", lambda settings: iter([contest("one", 1.0, 1.0), contest("two", 1.0)])),
        "wrong": Suite("one does not", lambda settings: iter([contest("three", 1.0, 2.0)])),
    }
    monkeypatch.setattr(command, "SUITES", made)
    return made


def test_list_names_the_suites_and_runs_nothing(capsys):
    assert command.main(["--list"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out] == list(SUITES)


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
    assert all(canary().alive for canary in canaries.CANARIES)
    assert "operators one by one" in canaries.single_operators().name
    assert not canaries.compare_with_float64("sums", [1.0, 2.01], [1.0, 2.0]).alive
    assert not canaries.compare_with_float64("sums", [1.0, float("nan")], [1.0, 2.0]).alive


def test_ctrl_c_keeps_what_is_finished(capsys, suites, monkeypatch, tmp_path):
    def interrupted(settings):
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


def test_a_contest_that_cannot_be_made_is_an_error_row_and_the_run_goes_on(capsys, suites, monkeypatch):
    def broken(settings):
        yield contest("one", 1.0)
        raise RuntimeError("no such data\nand more")

    monkeypatch.setitem(suites, "good", Suite("broken", broken))
    assert command.main([]) == 1
    out = capsys.readouterr().out
    assert "good: one" in out
    assert "ERROR not measured: RuntimeError: no such data" in out
    assert "wrong: three" in out


def test_what_runs_out_of_memory_is_halved_and_said(capsys, suites, monkeypatch):
    def out_of_memory():
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte.")

    fits = contest("8x32", 1.0, 1.0)._replace(note="8x64 ran out of memory: half the width")
    too_wide = contest("8x64", 1.0)._replace(contenders=[Contender("a", out_of_memory, float)], smaller=lambda: fits)
    monkeypatch.setitem(suites, "good", Suite("wide", lambda settings: iter([too_wide])))
    assert command.main(["good"]) == 0
    out = capsys.readouterr().out
    assert "good: 8x64 ran out of memory: half the width" in out
    assert "good: 8x32" in out
    assert "good: 8x64," not in out


def test_changes_since_an_earlier_run(capsys, suites, tmp_path):
    path = str(tmp_path / "old.json")
    assert command.main(["good", "--json", path]) == 0
    capsys.readouterr()
    assert command.main(["good", "--compare", path]) == 0
    out = capsys.readouterr().out
    assert f"compared with the run of {read_record(path)['date']}" in out
    assert out.count(" then, ") == 3


def test_profiles_are_written_where_they_were_asked_for(capsys, suites, tmp_path):
    assert command.main(["good", "--profile", str(tmp_path / "profiles")]) == 0
    assert {path.name for path in (tmp_path / "profiles").iterdir()} == {"good_one_c0", "good_one_c1", "good_two_c0"}
    assert list((tmp_path / "profiles" / "good_one_c0").rglob("*.xplane.pb"))


def test_a_profile_that_fails_costs_no_results(capsys, suites, monkeypatch, tmp_path):
    def raising():
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte.")

    fits = contest("half", 1.0)
    wide = contest("whole", 1.0)._replace(contenders=[Contender("a", raising, float)], smaller=lambda: fits)
    some = contest("some", 1.0)
    some = some._replace(contenders=[*some.contenders, Contender("wrong", raising, float)])
    monkeypatch.setitem(suites, "good", Suite("profiled", lambda settings: iter([wide, some])))
    assert command.main(["good", "--profile", str(tmp_path / "profiles")]) == 1
    assert {path.name for path in (tmp_path / "profiles").iterdir()} == {"good_half_c0", "good_some_c0"}
    monkeypatch.setattr(running.jax.profiler, "trace", lambda path: raising())
    assert command.main(["good", "--profile", str(tmp_path / "profiles")]) == 1
    assert "no profile of c0: RuntimeError: RESOURCE_EXHAUSTED" in capsys.readouterr().out


def test_a_race_that_cannot_be_run_is_an_error_row(capsys, suites, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("no room for the problem")

    race = Race(Case((2, 4, 1), 4, 64, 2), {}, make_problem)
    monkeypatch.setitem(suites, "good", Suite("raced", lambda settings: iter(()), races=lambda settings: [race, race]))
    monkeypatch.setattr(running, "race", broken)
    assert command.main(["--peers", "jax"]) == 1
    out = capsys.readouterr().out
    assert out.count("ERROR not measured: RuntimeError: no room for the problem") == 2
    assert "wrong: three" in out


def test_a_race_follows_its_suite(capsys, suites, monkeypatch, tmp_path):
    """Real processes of the peer that needs nothing but JAX, at small size."""
    race = Race(Case((2, 4, 1), 4, 64, 2), {"JAX, jit per step": 1e-9}, make_problem)
    suite = Suite("raced", lambda settings: iter(()), races=lambda settings: [race])
    monkeypatch.setitem(suites, "good", suite)
    monkeypatch.setattr(running, "_QUICK_SECONDS", 0.0001)
    path = str(tmp_path / "results.json")
    assert command.main(["good", "--quick", "--peers", "jax", "--json", path]) == 0, capsys.readouterr().out
    rows = read_rows(path)
    assert [row.contender for row in rows] == [*OURS.contenders, *PEERS["jax"].contenders]
    assert all(row.process and len(row.seconds) == 1 for row in rows)
    (wanted,) = [row for row in rows if row.contender == "JAX, jit per step"]
    assert wanted.comparison.at_least == 1e-9
    assert "jax" in wanted.versions
    assert "1 alternating processes" in capsys.readouterr().out
