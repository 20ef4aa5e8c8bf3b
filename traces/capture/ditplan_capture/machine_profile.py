"""`profile.json`: which machine and software a directory of measured points comes from, and how its clocks ran.

Guarantees: a directory holds points of one device only; another one is refused. Nothing private is written: of the
environment only variables that change numbers or speed, no paths, no host name.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Optional

import torch

from . import manifest as about
from .shard import write_atomically

FORMAT = 1
FILE = "profile.json"
#: What nvidia-smi is asked for, in the order of a clock's values.
QUERY = ("clocks.sm", "clocks.mem", "power.draw", "temperature.gpu")
#: The reasons of throttling, by the name of newer and of older drivers.
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
#: Seconds between two readings of the clocks.
CLOCK_PERIOD_S = 2.0
#: Environment variables recorded beside those of a trace.
PREFIXES = ("CUDA_", "NCCL_", "TORCH", "PYTORCH")


class OtherDevice(ValueError):
    """A directory that holds points of another device."""


def system_name(gpu: str, kind: str) -> str:
    """The short name of the tables: `NVIDIA H200` is `h200_sxm`, a processor is `cpu`."""
    if kind != "cuda":
        return "cpu"
    name = gpu.lower().removeprefix("nvidia ").replace("geforce ", "")
    chip = re.match(r"(gb200|gb300|b200|b300|h200|h100|h800|h20|a100|a800|l40s|l40|l20|rtx pro \d+)", name)
    if chip is None:
        return re.sub(r"[^a-z0-9]+", "_", name).strip("_")
    form = "pcie" if "pcie" in name or " nvl" in name else "sxm"
    return chip[1].replace(" ", "_") if chip[1][0] in "lr" else f"{chip[1]}_{form}"


def software_name() -> str:
    """The software that runs the kernels: PyTorch with its version."""
    return f"torch {torch.__version__}"


def environment() -> dict[str, str]:
    """Environment variables that matter; of a path only its last part."""
    names = [n for n in sorted(os.environ) if n.startswith(PREFIXES) and not any(w in n for w in about.SECRET_WORDS)]
    return about.environment() | {n: os.environ[n].rsplit("/", 1)[-1] for n in names}


def commit() -> Optional[str]:
    """The commit of the checkout that this program is part of, if it is one; DITPLAN_COMMIT says it for a bare copy."""
    if given := os.environ.get("DITPLAN_COMMIT"):
        return given
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
        return answer.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def describe(device: torch.device) -> dict:
    """What identifies the machine and its software."""
    found = about.device(device)
    return {
        "format": FORMAT,
        "gpu": found["name"],
        "device": device.type,
        "system": system_name(found["name"], device.type),
        "driver": found["driver"],
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "host_cpu": about._cpu_name(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%MZ"),
        "commit": commit(),
        "environment": environment(),
    }


class Clocks:
    """Reads clocks, power, temperature and reasons of throttling in the background while work is measured."""

    def __init__(self, enabled: bool, began: float) -> None:
        self.rows: list[dict] = []
        self._began, self._process = began, None
        if enabled:
            self._start()

    def _start(self) -> None:
        try:
            command = clock_query()
            command.append(f"--loop-ms={int(1000 * CLOCK_PERIOD_S)}")
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"clocks are not logged: {error}", file=sys.stderr)
            return
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for text in self._process.stdout:
            if row := clock_row(text, time.time() - self._began):
                self.rows.append(row)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def clock_query() -> list[str]:
    """nvidia-smi's command for one reading, with the name that this driver has for the reasons of throttling."""
    for reasons in REASONS:
        command = ["nvidia-smi", "--id=0", f"--query-gpu={','.join((*QUERY, reasons))}", "--format=csv,noheader,nounits"]
        if subprocess.run(command, capture_output=True, timeout=20).returncode == 0:
            return command
    raise subprocess.SubprocessError("nvidia-smi answers no query of clocks")


def clock_row(text: str, at_s: float) -> Optional[dict]:
    """One reading of nvidia-smi: `1980, 3201, 410.2, 51, 0x0000000000000000`; None if it is something else."""
    fields = [field.strip() for field in text.split(",")]
    if len(fields) != len(QUERY) + 1:
        return None

    def number(field: str) -> Optional[float]:
        try:
            return float(field)
        except ValueError:
            return None

    names = ("sm_mhz", "memory_mhz", "power_w", "temperature_c")
    return {"at_s": round(at_s, 1), **dict(zip(names, map(number, fields))), "throttle": fields[-1]}


class Profile:
    """A profile directory under construction: `profile.json` is rewritten whole by `save`."""

    def __init__(self, out: Path, device: torch.device, command: str) -> None:
        self.path = out / FILE
        out.mkdir(parents=True, exist_ok=True)
        self.content = describe(device) | {"clocks": [], "parts": {}, "notes": [], "command": command}
        self._earlier: list[dict] = []
        if self.path.exists():
            self._continue(json.loads(self.path.read_text()))
        self._began = time.time()
        self.clocks = Clocks(device.type == "cuda", self._began)

    def _continue(self, before: dict) -> None:
        same = ("gpu", "device", "torch")
        if any(before.get(key) != self.content[key] for key in same):
            had, has = (", ".join(str(x.get(key)) for key in same) for x in (before, self.content))
            raise OtherDevice(f"{self.path.parent} holds points of {had}, this is {has}; give an empty --out")
        if ("--toy" in before["command"]) != ("--toy" in self.content["command"]):
            raise OtherDevice(f"{self.path.parent} mixes toy shapes with others; give an empty --out")
        self.content["date"] = before["date"]
        self.content["parts"], self.content["notes"] = before["parts"], before.get("notes", [])
        self._earlier = before["clocks"]

    def note(self, sentence: str) -> None:
        """Something a reader must know, said once."""
        if sentence not in self.content["notes"]:
            self.content["notes"].append(sentence)

    def part(self, name: str, complete: bool) -> None:
        """How far part `name` is."""
        self.content["parts"][name] = "complete" if complete else "partial"

    def save(self) -> None:
        """Writes the file; it is old or new, never half."""
        self.content["clocks"] = self._earlier + self.clocks.rows
        write_atomically(self.path, (json.dumps(self.content, indent=1) + "\n").encode())

    def close(self) -> None:
        self.clocks.stop()
        self.save()
