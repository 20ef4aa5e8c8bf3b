"""The command line records what a script describes."""

from __future__ import annotations

import textwrap

import pytest
from conftest import manifest_of

from ditplan_capture.__main__ import indices, main

SCRIPT = textwrap.dedent("""
    import torch
    from conftest import flux
    case = flux(layers=1)

    class Pipe:
        transformer, scheduler = case.model, case.scheduler
        def __call__(self, prompt):
            return case.run(2)

    pipe = Pipe()

    def run():
        return pipe("a prompt")
""")


def test_ranges_count_both_ends():
    assert indices("0,3,5-8") == [0, 3, 5, 6, 7, 8]


def test_a_script_is_recorded(tmp_path, capsys):
    (tmp_path / "script.py").write_text(SCRIPT)
    main(["record", str(tmp_path / "script.py"), "--out", str(tmp_path / "t"), "--layers", "1", "--tokens", "5-20"])
    assert "complete, 2 steps" in capsys.readouterr().out
    manifest = manifest_of(tmp_path / "t")
    assert manifest["recorded"]["layers"] == [1] and manifest["recorded"]["tokens"] == [5, 21]
    assert len(manifest["samples"]) == 2


def test_a_script_without_run_is_named(tmp_path):
    (tmp_path / "script.py").write_text("pipe = 1\n")
    with pytest.raises(SystemExit, match="defines no run"):
        main(["record", str(tmp_path / "script.py"), "--out", str(tmp_path / "t")])
