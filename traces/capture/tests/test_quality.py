"""Calibration: what made the runs is found again, and what is held apart does not enter."""

import dataclasses
import gzip
import json
import math
import random
from pathlib import Path

import pytest

from ditplan_capture.assignment import Assignment
from ditplan_capture.calibrate_quality import Fit, check_lines, main
from ditplan_capture.quality import Quality, ReplayErrors, kendall_tau, median, ordered_share, student_quantile
from ditplan_capture.replay import COLUMNS, PHASE_NAMES
from ditplan_capture.tables import RunRow

NAMES = ("1bit", "2bit", "int4", "fp8", "stale", "lowrank-int4(4)")
LAYERS = 3


def write_errors(path: Path) -> None:
    """A Gram matrix of two ranks' numbers, positive definite: vectors at random."""
    rng, rows = random.Random(1), []
    for ranks in (4, 8):
        for layer in range(LAYERS):
            for tensor in "kv":
                labels = [(p, n) for n in NAMES for p in PHASE_NAMES]
                vectors = [[rng.gauss(0.3, 1) * 1e-2 for _ in range(5)] for _ in labels]
                for i, (p, n) in enumerate(labels):
                    for j in range(i, len(labels)):
                        q, m = labels[j]
                        dot = sum(a * b for a, b in zip(vectors[i], vectors[j]))
                        rows.append(f"gram,{ranks},{layer},{tensor},{p},{n},{q},{m},{dot:.12g}")
    path.write_bytes(gzip.compress("\n".join([",".join(COLUMNS), *rows, ""]).encode()))


TRUTH = Quality(
    {(l, f): (1 + l) * s for l in range(LAYERS) for f, s in [("1bit", 1.0), ("2bit", 2.0), ("int", 0.5), ("low-rank", 1.5), ("stale", 0.8)]},
    {"k": 2.3, "v": 1.0}, (1.0, 1.0, 1.0), {4: 1.0, 8: 1.7},
)


def make(id: str, split: str, purpose: str, assignment: Assignment, errors: dict, ranks: int = 4, factor: float = 1.0, truth: Quality = TRUTH) -> RunRow:
    d = truth.predict(assignment, errors[ranks], ranks) * factor
    return RunRow(id, split, purpose, "A", ranks, 28, "ring", assignment, d, (d / 1.5, d * 1.5))


def make_runs(errors: dict) -> list[RunRow]:
    runs = [make(f"u-{n}", "fit", "uniform", Assignment.uniform(n, LAYERS), errors) for n in NAMES]
    runs += [make(f"u8-{n}", "fit", "uniform", Assignment.uniform(n, LAYERS), errors, ranks=8) for n in ("1bit", "2bit")]
    for n in NAMES:
        runs += [make(f"s-{n}-{l}", "fit", "single", Assignment.single(n, l, LAYERS), errors) for l in range(LAYERS)]
    for t in "kv":
        runs += [make(f"{t}-{l}", "fit", "kv", Assignment.single("1bit", l, LAYERS, t), errors) for l in range(LAYERS)]
    rng = random.Random(2)
    for i in range(12):
        a = Assignment.of([rng.choice(NAMES) for _ in range(LAYERS)])
        runs.append(make(f"m-{i}", "fit" if i < 6 else "test", "mixed", a, errors, factor=math.exp(rng.gauss(0.05, 0.1))))
    return runs


@pytest.fixture()
def trace(tmp_path):
    write_errors(tmp_path / "errors.csv.gz")
    errors = {n: ReplayErrors(tmp_path / "errors.csv.gz", n) for n in (4, 8)}
    return tmp_path, errors, make_runs(errors)


def test_what_made_the_runs_is_found_again(trace):
    _, errors, runs = trace
    found = Fit(runs, errors, 4, 28).run([])
    assert found.weight["k"] == pytest.approx(2.3)
    own = {(l, "fp8"): TRUTH.sensitivity[l, "int"] for l in range(LAYERS)}
    assert found.sensitivity == pytest.approx(TRUTH.sensitivity | own)
    assert found.phase == (1.0, 1.0, 1.0)
    assert found.gain == pytest.approx({4: 1.0, 8: 1.7})
    assert found.confidence_runs == 6
    assert found.lossy_own_shard == pytest.approx(4 / 3)


def test_phases_that_weigh_differently_are_found(trace):
    """Sensitivities and phase weights share a scale: what they predict together is what is found."""
    _, errors, _ = trace
    truth = dataclasses.replace(TRUTH, phase=(2.0, 0.5, 0.5))
    runs = [make(f"s-{n}-{l}", "fit", "single", Assignment.single(n, l, LAYERS), errors, truth=truth) for n in NAMES for l in range(LAYERS)]
    runs += [make(f"u-{n}", "fit", "uniform", Assignment.uniform(n, LAYERS), errors, truth=truth) for n in NAMES]
    runs += [make(f"{t}-{l}", "fit", "kv", Assignment.single("1bit", l, LAYERS, t), errors, truth=truth) for t in "kv" for l in range(LAYERS)]
    for p in range(3):
        entry = ["1bit" if q == p else "raw" for q in range(3)]
        runs.append(make(f"p-{p}", "fit", "phase", Assignment.of([entry] * LAYERS), errors, truth=truth))
    found = Fit(runs, errors, 4, 28).fitted(rounds=12)
    for p in range(3):
        entry = ["int4" if q == p else "raw" for q in range(3)]
        a = Assignment.of([entry] * LAYERS)
        assert found.predict(a, errors[4], 4) == pytest.approx(truth.predict(a, errors[4], 4), rel=0.25)
    assert found.phase[0] > 2 * max(found.phase[1:])


def test_a_lossy_own_shard_is_told_by_gathers(trace):
    _, errors, runs = trace
    ring = next(r for r in runs if r.id == "u-1bit")
    gather = dataclasses.replace(ring, strategy="gather", deviations=tuple(2 * d for d in ring.deviations))
    assert Fit(runs, errors, 4, 28).run([gather]).lossy_own_shard == pytest.approx(4.0)


def test_runs_held_apart_do_not_enter(trace):
    _, errors, runs = trace
    spoilt = [dataclasses.replace(r, deviation=r.deviation * 9) if r.split == "test" else r for r in runs]
    assert Fit(spoilt, errors, 4, 28).run([]).to_dict() == Fit(runs, errors, 4, 28).run([]).to_dict()


def test_the_file_comes_back(trace, capsys):
    from ditplan_capture import tables

    path, errors, runs = trace
    (path / "manifest.json").write_text(json.dumps({"sampler": {"steps": 28}, "model": {"name": "synthetic"}, "files": []}))
    lines = [",".join(tables.COLUMNS)]
    for r in runs:
        a, d = r.assignment.to_json().replace('"', '""'), json.dumps(r.deviations)
        lines.append(f'{r.id},{r.split},{r.purpose},{r.prompts},{r.ranks},28,ring,1,"{a}",{r.deviation:.12g},"{d}"')
    (path / "runs.csv.gz").write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    import sys

    sys.argv = ["calibrate_quality", str(path), "--check"]
    main()
    assert "test mixed A 4 28: 6 runs" in capsys.readouterr().out
    loaded = Quality.load(path / "quality.json")
    assert {k: loaded.sensitivity[k] for k in TRUTH.sensitivity} == pytest.approx(TRUTH.sensitivity)
    assert json.loads((path / "quality.json").read_text())["sigma_ln_prompt"] == pytest.approx(math.log(1.5) * math.sqrt(2))


def test_uniform_phases_add_to_the_whole(trace):
    _, errors, _ = trace
    whole = Assignment.uniform("1bit", LAYERS)
    e = sum(TRUTH.sensitivity[l, "1bit"] * TRUTH.weight[t] * errors[4].coherent(l, t, "1bit") for l in range(LAYERS) for t in "kv")
    assert TRUTH.predict(whole, errors[4], 4) ** 2 == pytest.approx(e)
    assert TRUTH.predict(Assignment.uniform("raw", LAYERS), errors[4], 4) == 0


def test_missing_ranks_are_named(trace):
    with pytest.raises(ValueError, match="no errors for 3 ranks"):
        ReplayErrors(trace[0] / "errors.csv.gz", 3)


def test_statistics():
    assert student_quantile(0.95, 15) == pytest.approx(1.753, abs=1e-3)
    assert student_quantile(0.975, 5) == pytest.approx(2.571, abs=1e-3)
    assert kendall_tau([1, 2, 3], [1, 2, 3]) == 1 and kendall_tau([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert median([3, 1, 2]) == 2 and median([1, 2, 3, 4]) == 2.5
    assert ordered_share([1, 2, 3], [1, 1.1, 3]) == 1.0 and ordered_share([2, 1], [1, 2]) == 0.0


def test_groups_outside_the_fit_are_reported(trace):
    _, errors, runs = trace
    quality = Fit(runs, errors, 4, 28).run([])
    lines = check_lines(quality, runs, {(4, 28): errors[4]})
    assert len(lines) == 1 and "6 runs" in lines[0]
