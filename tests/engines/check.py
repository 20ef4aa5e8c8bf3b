"""Passes the commands that ditplan emits to the engines' own code. Use run.sh, which fetches the wheels.

    python3 check.py PROGRAM WHEELS [COUNT]     PROGRAM: ditplan; WHEELS: a folder of unpacked wheels; COUNT: commands an engine
"""

import importlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from commands import parse  # noqa: E402
from questions import drawn  # noqa: E402

# Name for --emit, module of checks, and a change that the engine must refuse: without it the check would show nothing.
ENGINES = (
    ("xdit", "xdit", ("--height", "--heigth")),
    ("sglang", "sglang", ("--height", "--heigth")),
    ("diffusers", "scripts", ("height=", "heigth=")),
    ("cache-dit", "scripts", ("height=", "heigth=")),
    ("vllm-omni", "vllm_omni", ("--num-gpus", "--num-gpu")),
)
COUNT = 50


def main(program: str, wheels: str, count: int) -> int:
    refused = 0
    for engine, module, fault in ENGINES:
        began = time.monotonic()
        questions = list(drawn(program, engine, count))
        commands = [command for _, command in questions]
        # The first command once more, with a fault.
        how, *said = judged(module, wheels, [commands[0].replace(*fault), *commands])
        if said[0] is None:
            print(f"FAILED: {engine} takes {fault[1]}: its check notices nothing.")
            return 1
        faults = [(words, why) for (words, _), why in zip(questions, said[1:], strict=True) if why is not None]
        print(
            f"{engine}: {len(commands)} commands, {len(commands) - len(faults)} accepted "
            f"({how}; {time.monotonic() - began:.0f} s)",
            flush=True,
        )
        for words, why in faults:
            print(f"  refused: ditplan plan --emit {engine} {shlex.join(words)}\n    {why}")
        refused += len(faults)
    return int(refused > 0)


def judged(module: str, wheels: str, commands: list[str]) -> list[str | None]:
    """How an engine was asked, then for each command why it was refused, or nothing. It runs in a process of its own:
    without site-packages, since all that an engine depends on is a stand-in."""
    worker = [sys.executable, "-I", "-S", str(HERE / "check.py"), "--worker", module, wheels]
    run = subprocess.run(worker, input=json.dumps(commands), capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"the check by {module} failed:\n{run.stderr[-3000:]}")
    return json.loads(run.stdout)


def worker(module: str, wheels: str) -> None:
    """Reads commands as JSON, writes what `judged` returns. What the engine prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    commands = json.load(sys.stdin)
    checks = importlib.import_module(f"checks.{module}")
    check = checks.check(Path(wheels))
    said: list[str | None] = [checks.HOW]
    for command in commands:
        try:
            check(parse(command))
            said.append(None)
        except (Exception, SystemExit) as why:
            said.append(f"{type(why).__name__}: {why}")
    json.dump(said, out)
    out.close()


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        worker(*sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1], sys.argv[2], int((sys.argv[3:] or [COUNT])[0])))
