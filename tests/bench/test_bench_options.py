import json

import jax
import pytest

from purenet.bench import options, peers
from purenet.bench.contests import Suite
from purenet.bench.options import parse

SUITES = {name: Suite("", lambda settings: iter(())) for name in ("train-tiny", "shuffle")}


def usage_error(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        parse(arguments, SUITES)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1].removeprefix("python -m purenet.bench: error: ")


def test_what_is_asked_for():
    assert parse([], SUITES).suites == ("train-tiny", "shuffle")
    told = parse(["shuffle", "shuffle", "--quick", "--dtype", "bfloat16"], SUITES)
    assert (told.suites, told.settings.quick, told.settings.dtype) == (("shuffle",), True, "bfloat16")
    assert (told.settings.peers, told.json, told.compare, told.device, told.profile) == ((), None, None, 0, None)


def test_an_unknown_suite_is_answered_with_those_there_are(capsys):
    assert usage_error(capsys, "shuffle", "speed") == "there is no suite 'speed'. Choose from: train-tiny, shuffle."


def test_an_unwritable_file_is_found_before_anything_runs(capsys, tmp_path):
    path = tmp_path / "missing" / "results.json"
    assert usage_error(capsys, "--json", str(path)) == (
        f"cannot write to {path}: No such file or directory. Give --json a file in a folder that exists."
    )
    assert usage_error(capsys, "--json", str(tmp_path)) == (
        f"cannot write to {tmp_path}: Is a directory. Give --json a file in a folder that exists."
    )


def test_a_file_that_may_not_be_written(capsys, tmp_path, monkeypatch):
    def refused(path, *args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refused)
    assert usage_error(capsys, "--json", str(tmp_path / "results.json")) == (
        f"cannot write to {tmp_path / 'results.json'}: Permission denied. Give --json a file in a folder that exists."
    )


def test_an_unwritable_folder_for_profiles_is_too(capsys, tmp_path):
    path = tmp_path / "missing" / "profiles"
    assert usage_error(capsys, "--profile", str(path)) == (
        f"cannot write to {path}: No such file or directory. Give --profile a folder in a folder that exists."
    )
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    assert "File exists" in usage_error(capsys, "--profile", str(tmp_path / "file"))
    assert parse(["--profile", str(tmp_path / "new")], SUITES).profile == str(tmp_path / "new")


def test_a_device_that_is_not_there(capsys):
    there = ", ".join(f"{i}: {device.device_kind}" for i, device in enumerate(jax.devices()))
    for number in ("99", "-1"):
        assert usage_error(capsys, "--device", number) == f"there is no device {number}. JAX sees {there}."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RuntimeError("Unable to initialize backend 'cuda': no CUDA-capable device is detected.\nand more"),
            "Unable to initialize backend 'cuda': no CUDA-capable device is detected",
        ),
        (AssertionError(), "JAX_PLATFORMS asks for 'cuda' alone"),
    ],
)
def test_no_accelerator_at_all(capsys, monkeypatch, error, reason):
    def nothing():
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(options.jax, "devices", nothing)
    assert usage_error(capsys) == (
        f"JAX finds no device: {reason}. Unset JAX_PLATFORMS to run on what there is, or install its plugin."
    )


def test_an_unknown_peer(capsys):
    assert usage_error(capsys, "--peers", "jax,theano") == (
        "there is no peer 'theano'. Choose all, or from: keras, flax, equinox, torch, sklearn, jax."
    )


def test_peers_take_the_first_device_and_float32(capsys):
    assert usage_error(capsys, "--peers", "jax", "--dtype", "bfloat16") == (
        "peers train in float32, not in bfloat16. Leave one of --peers and --dtype out."
    )


def test_an_absent_peer_is_named_with_how_to_get_it_and_the_run_goes_on(capsys, monkeypatch):
    monkeypatch.setitem(peers.PEERS, "flax", peers.PEERS["flax"]._replace(module="no_such_module"))
    told = parse(["--peers", "flax,jax"], SUITES)
    assert told.settings.peers == ("jax",)
    assert capsys.readouterr().out == (
        "peer flax is not installed here and left out. "
        'Get it with pip install -e ".[peers]", in an environment of its own.\n'
    )


def test_peers_belong_to_the_repository(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(peers.purenet, "__file__", str(tmp_path / "purenet" / "__init__.py"))
    assert usage_error(capsys, "--peers", "jax") == (
        f"expected the peers' files in {tmp_path / 'bench' / 'peers'}, got none: they are not part of the installed "
        'package. Clone the repository and install it with pip install -e ".[peers]".'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON, got something else (Expecting property name enclosed in double quotes: line 1 column 2"),
        ("[]", "expected a record of schema 1 of purenet.bench. Write one with --json."),
        ('{"schema": 2}', "expected a record of schema 1 of purenet.bench. Write one with --json."),
        ('{"schema": 1, "rows": [{}]}', "expected a whole record of purenet.bench, got one with a part missing"),
        ('{"schema": 1, "rows": 7}', "expected a whole record of purenet.bench, got one with a part missing"),
    ],
)
def test_bad_json_to_compare_with(capsys, tmp_path, text, message):
    path = tmp_path / "old.json"
    path.write_text(text, encoding="utf-8")
    assert usage_error(capsys, "--compare", str(path)).startswith(f"{path}: {message}")


def test_nothing_to_compare_with(capsys, tmp_path):
    path = tmp_path / "old.json"
    assert usage_error(capsys, "--compare", str(path)) == (
        f"cannot read {path}: No such file or directory. Give --compare a file written by --json."
    )


def test_bytes_that_are_no_text(capsys, tmp_path):
    path = tmp_path / "old.json"
    path.write_bytes(b"\xff\xfe{")
    assert "expected JSON, got something else" in usage_error(capsys, "--compare", str(path))


def test_a_file_may_be_compared_with_and_written_again(tmp_path):
    path = tmp_path / "old.json"
    record = {"schema": 1, "date": "2026-01-01", "quick": False, "machine": {}, "rows": []}
    path.write_text(json.dumps(record), encoding="utf-8")
    told = parse(["--compare", str(path), "--json", str(path)], SUITES)
    assert told.compare == record
    assert json.loads(path.read_text(encoding="utf-8")) == record
