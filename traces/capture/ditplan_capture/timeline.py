"""Kernel timelines: what PyTorch's profiler saw, as a `timeline.json` of ditplan.

    with ditplan_capture.timeline(pipe, "out.trace/timeline.json"):
        pipe("a prompt", num_inference_steps=4)

```text
hooks on blocks ─▶ ranges "ditplan step 3 layer 7" ─┐
torch.profiler (Kineto) ─▶ chrome trace ────────────┴▶ spans(): kernel ─▶ launch (correlation) ─▶ range ─▶ step, layer
```

On CUDA a span is a kernel, a copy, or a launch on the host; on the CPU, an outermost operator that moves data.
Guarantees: times start at 0 and keep the profiler's resolution (1 ns); every span has step and layer. Work of a step
outside its blocks has layer 0, work outside the sampler's loop step 0.
Not recorded: which span waited for which message; CUDA graphs (their kernels belong to the launch of the graph).
The conversion of CUDA events is tested on a hand-written profile only.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import re
import tempfile
from pathlib import Path
from typing import Iterator, Optional, Sequence

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from .calls import StepWatch, bound_arguments, find_transformer
from .kernel_class import VIEWS, classify
from .manifest import device, libraries
from .processors import attentions
from .shard import write_atomically

#: Categories of Kineto that are work of a GPU.
GPU_WORK = ("kernel", "gpu_memcpy", "gpu_memset")
#: Runtime calls that launch GPU work.
LAUNCH = re.compile(r"cu(da)?(Launch|Memcpy|Memset|GraphLaunch)")
RANGE = re.compile(r"ditplan (?:step (\d+)(?: layer (\d+))?|(text-encoder|vae))$")
#: Bytes of an element by NCCL's name of its type.
ELEMENT_BYTES = {"Half": 2, "BFloat16": 2, "Float": 4, "Double": 8, "Byte": 1, "Char": 1, "Int": 4, "Long": 8}
PS_PER_US = 1_000_000


class _Ranges:
    """Our ranges of one thread: the innermost one at a moment says step, layer and class."""

    def __init__(self, events: list[dict]) -> None:
        self._events = sorted(events, key=lambda event: (event["ts"], -event["dur"]))
        self._starts = [event["ts"] for event in self._events]

    def at(self, moment: float) -> tuple[int, int, Optional[str]]:
        """(step, layer, class or None) at `moment` [us]."""
        for index in range(bisect.bisect_right(self._starts, moment) - 1, -1, -1):
            event = self._events[index]
            if moment < event["ts"] + event["dur"]:
                step, layer, kind = RANGE.fullmatch(event["name"]).groups()
                return int(step or 0), int(layer or 0), kind
        return 0, 0, None


def spans(profiled: dict) -> list[dict]:
    """Rows of `timeline.json` from a profiler's chrome trace, in order of time."""
    events = [event for event in profiled["traceEvents"] if event.get("ph") == "X" and "dur" in event]
    ranges: dict[object, list[dict]] = {}
    for event in events:
        if event.get("cat") == "user_annotation" and RANGE.fullmatch(event["name"]):
            ranges.setdefault(event["tid"], []).append(event)
    threads = {thread: _Ranges(found) for thread, found in ranges.items()}
    on_gpu = [event for event in events if event.get("cat") in GPU_WORK]
    chosen = _gpu_rows(events, on_gpu, threads) if on_gpu else _cpu_rows(events, threads)
    chosen.sort(key=lambda row: (row[0], row[1]))
    origin = chosen[0][0] if chosen else 0.0
    return [
        {
            "device": place, "stream": stream, "class": kind, "step": step, "layer": layer,
            "start_ps": round((start - origin) * 1000) * 1000, "end_ps": round((end - origin) * 1000) * 1000, "bytes": size,
        }
        for start, end, place, stream, kind, step, layer, size in chosen
    ]


def _where(threads: dict, thread: object, moment: float) -> tuple[int, int, Optional[str]]:
    return threads[thread].at(moment) if thread in threads else (0, 0, None)


def _gpu_rows(events: list[dict], on_gpu: list[dict], threads: dict) -> list[tuple]:
    """Kernels and copies by the range they were launched in, and the launches themselves on the host's stream."""
    launches = {
        event["args"]["correlation"]: event
        for event in events
        if event.get("cat") in ("cuda_runtime", "cuda_driver") and "correlation" in event.get("args", {})
    }
    rows = []
    for event in on_gpu:
        args = event.get("args", {})
        launch = launches.get(args.get("correlation"))
        step, layer, inside = _where(threads, launch["tid"], launch["ts"]) if launch else (0, 0, None)
        kind = inside or classify(event["name"])
        stream = "communication" if kind == "communication" else "compute"
        size = int(args.get("In msg nelems", 0)) * ELEMENT_BYTES.get(args.get("dtype"), 0)
        end = event["ts"] + event["dur"]
        rows.append((event["ts"], end, int(args.get("device", 0)), stream, kind, step, layer, size))
        if launch and LAUNCH.match(launch["name"]):
            end, place = launch["ts"] + launch["dur"], int(args.get("device", 0))
            rows.append((launch["ts"], end, place, "host", "launch", step, layer, 0))
    return rows


def _cpu_rows(events: list[dict], threads: dict) -> list[tuple]:
    """Outermost operators of each thread; the profiler nests the operators that they call."""
    operators = [event for event in events if event.get("cat") == "cpu_op"]
    operators.sort(key=lambda event: (event["ts"], -event["dur"]))
    rows, busy_until = [], {}
    for event in operators:
        start, end, thread = event["ts"], event["ts"] + event["dur"], event["tid"]
        if start < busy_until.get(thread, start):
            continue
        busy_until[thread] = end
        if not VIEWS.match(event["name"]):
            step, layer, inside = _where(threads, thread, start)
            rows.append((start, end, 0, "compute", inside or classify(event["name"]), step, layer, 0))
    return rows


def write(path: str | Path, rows: list[dict], provenance: str, messages: Sequence[tuple[int, int]] = ()) -> None:
    """Writes spans as ditplan's `timeline.json`, one a line; messages are pairs of positions, sender and receiver."""
    head = {
        "format": "ditplan-timeline", "version": 1, "source": "measured", "provenance": provenance, "time_unit": "ps",
        "bytes_unit": "B", "bandwidth_unit": "B/s", "messages": [list(pair) for pair in messages], "links": [],
    }
    opening = json.dumps(head, separators=(",", ":"))[:-1] + ',\n"spans":[\n'
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    write_atomically(Path(path), (opening + lines + "]}\n").encode())


def convert(chrome_trace: str | Path, path: str | Path, provenance: str) -> int:
    """Converts a chrome trace of the profiler to `path`; the number of spans."""
    rows = spans(json.loads(Path(chrome_trace).read_text()))
    write(path, rows, provenance)
    return len(rows)


class _Marks:
    """Puts named ranges around modules while hooks are in place."""

    def __init__(self) -> None:
        self._open: list[record_function] = []

    def around(self, stack: contextlib.ExitStack, module: nn.Module, name) -> None:
        """Each call of `module` becomes a range `name()`."""
        before = module.register_forward_pre_hook(lambda *_: self._begin(name()))
        after = module.register_forward_hook(lambda *_: self._end(), always_call=True)
        stack.callback(before.remove)
        stack.callback(after.remove)

    def _begin(self, name: str) -> None:
        mark = record_function(name)
        mark.__enter__()
        self._open.append(mark)

    def _end(self) -> None:
        if self._open:
            self._open.pop().__exit__(None, None, None)


def block_name(attention: str) -> str:
    """The transformer block that an attention module stands in: its name up to the last number."""
    parts = attention.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[-1] + 1]) if numbers else attention


@contextlib.contextmanager
def timeline(target: object, path: str | Path, *, scheduler: Optional[object] = None) -> Iterator[None]:
    """Profiles what runs inside and writes it to `path`; `target` is a pipeline or a transformer."""
    model, found = find_transformer(target)
    modules, marks, step = dict(model.named_modules()), _Marks(), [0]

    def step_over() -> None:
        step[0] += 1

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(StepWatch(scheduler if scheduler is not None else found, step_over))
        arguments = model.register_forward_pre_hook(
            lambda module, args, kwargs: watch.model_called(bound_arguments(module.forward, args, kwargs)), with_kwargs=True
        )
        stack.callback(arguments.remove)
        marks.around(stack, model, lambda: f"ditplan step {step[0]}")
        for layer, (name, _) in enumerate(attentions(model)):
            marks.around(stack, modules[block_name(name)], lambda layer=layer: f"ditplan step {step[0]} layer {layer}")
        for part in ("text_encoder", "text_encoder_2", "text_encoder_3", "vae"):
            if isinstance(module := getattr(target, part, None), nn.Module):
                kind = "vae" if part == "vae" else "text-encoder"
                marks.around(stack, getattr(module, "decoder", module), lambda kind=kind: f"ditplan {kind}")
        profiler = stack.enter_context(profile(activities=activities))
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "profile.json"
        profiler.export_chrome_trace(str(raw))
        where = device(next(model.parameters()).device)
        convert(raw, path, f"torch.profiler, {type(model).__name__} on {where['name']}, torch {libraries().get('torch')}")
