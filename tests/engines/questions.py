"""Questions to ditplan, drawn by a rule: every model, machine, strategy and option, in the order of their hashes."""

import hashlib
import itertools
import json
import subprocess

STRATEGIES = (
    "none dp2 cfg2 tp2 tp4 ulysses2 ulysses4 ulysses8 ring2 ring4 ring8 allgather-kv2 allgather-kv4 pipefusion2 pipefusion4 "
    "pipefusion2(m4) pipefusion4(m8) ulysses2+ring2 ulysses4+ring2 ulysses2+allgather-kv2 cfg2+ulysses2 cfg2+ulysses4 cfg2+ring2 "
    "cfg2+pipefusion2 cfg2+ulysses2+ring2 tp2+ulysses2 tp2+ulysses2+ring2 dp2+ulysses2 pipefusion2+ulysses2 distrifusion4"
).split()
OPTIONS = ((), ("--compile",), ("--batch", "2"), ("--guidance", "none"), ("--precision", "any"))


def drawn(program: str, engine: str, wanted: int):
    """Yields the words of a question and the command of `engine` that answers it, `wanted` times.

    Questions that ditplan refuses (no legal plan, a plan that does not fit, an engine that cannot run it) are passed over.
    """
    names = [
        [entry["name"] for entry in json.loads(subprocess.check_output([program, kind, "--json"]))]
        for kind in ("models", "machines")
    ]
    asked = [
        ("--model", model, "--machine", machine, "--strategy", strategy, *options)
        for model, machine, strategy, options in itertools.product(*names, STRATEGIES, OPTIONS)
    ]
    asked.sort(key=lambda words: hashlib.sha256(" ".join((engine, *words)).encode()).digest())
    for words in asked:
        if wanted == 0:
            return
        answer = subprocess.run([program, "plan", "--emit", engine, *words], capture_output=True, text=True)
        if answer.returncode not in (0, 2):
            raise RuntimeError(f"ditplan plan --emit {engine} {' '.join(words)}: {answer.stderr}")
        if answer.returncode == 0:
            wanted -= 1
            yield words, answer.stdout
