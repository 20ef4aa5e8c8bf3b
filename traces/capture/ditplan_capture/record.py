"""Records a diffusion transformer's keys and values while it runs.

    with ditplan_capture.record(pipe, "out.trace") as recorder:
        pipe("a prompt", num_inference_steps=28)

```text
pipe(...) ─▶ CallWatch (prompt, seed) ─▶ transformer ─▶ Tap at each self-attention ─▶ Statistics ─▶ TraceWriter
                       scheduler.step ─▶ StepWatch ─────────────────────────────────▶ end of a shard
```

Guarantees: the model computes exactly what it computes without recording; when the block is left by an exception, or
before the last step, the trace is marked partial and holds the steps that were finished.
Not recorded: queries, cross-attention, text encoders, VAE. One run a trace; several prompts go in one batch.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from pathlib import Path
from typing import Callable, Optional

import torch
from torch import Tensor, nn

from . import manifest as about
from .calls import CallWatch, StepWatch, bound_arguments, describe_call, find_transformer
from .modules import ModuleTap, layer_names
from .options import Options, chosen
from .processors import Tap, attentions, family_of, refuse_compiled, text_tokens
from .statistics import Statistics
from .writer import TraceWriter, check_path


def record(target: object, path: str | Path, **options: object) -> "Recorder":
    """A context manager that records `target` (a pipeline or a transformer) to the directory `path`.

    `options` are the fields of `Options`: layers, steps, heads, tokens, samples, dtype, modules, ...
    """
    return Recorder(target, Path(path), Options(**options))


class Recorder:
    """A recording under way; made by `record`."""

    def __init__(self, target: object, path: Path, options: Options) -> None:
        self.path, self.options = path, options
        self.model, found = find_transformer(target)
        refuse_compiled(self.model)
        self._pipe = None if isinstance(target, nn.Module) else target
        self._scheduler = options.scheduler if options.scheduler is not None else found
        if self._scheduler is None and options.sigmas is None:
            raise ValueError("the sampler is not known; give scheduler=..., or sigmas=[noise level before each step, 0]")
        self._taps = attentions(self.model) if options.modules is None else []
        self._names = [name for name, _ in self._taps] or layer_names(self.model, options.modules or {})
        self._layers = chosen("layers", options.layers, len(self._names))
        self._samples = sorted(set(options.samples)) if options.samples is not None else None
        self._dtype = options.stored_type(self.model)
        self._statistics = Statistics() if options.stats else None
        self._call: dict = {}
        self._text_tokens = 0
        self._shape: tuple[int, ...] = ()
        self._batch = 0
        self._sigmas: list[float] = []
        self._recorded_steps: list[int] = []
        self._rows_before = self._rows_now = 0
        self._started: Optional[float] = None
        self._timing: dict[str, Optional[float]] = {"wall_s": None, "plain_wall_s": None, "overhead_pct": None}
        self._watching: Optional[contextlib.ExitStack] = None
        #: The sampler step under way, 0-based.
        self.step = 0
        #: Writes the trace; None until the model has run for the first time.
        self.writer: Optional[TraceWriter] = None

    @property
    def overhead_pct(self) -> Optional[float]:
        """Extra time of the recorded run in per cent, after `compare`."""
        return self._timing["overhead_pct"]

    def __enter__(self) -> "Recorder":
        check_path(self.path, self.options.overwrite)
        self._watch()
        return self

    def __exit__(self, _kind: object, error: Optional[BaseException], _trace: object) -> None:
        self._unwatch()
        if self.writer is None:
            if error is None:
                raise RuntimeError(f"{self.path}: nothing recorded, the transformer was not called")
            return
        if error is not None:
            self.writer.close(failed=True, capture=self._timing)
            return
        self._finish_run()
        if self._timing["wall_s"] is None:
            self._timing["wall_s"] = time.perf_counter() - self._started
        if self.writer.close(capture=self._timing) == "partial":
            done, steps = len(self.writer.done), len(self._recorded_steps)
            warnings.warn(f"{self.path} is partial: the run ended after {done} of {steps} steps", stacklevel=2)

    def compare(self, run: Callable[[], object], warmups: int = 1) -> object:
        """Calls `run` without recording (`warmups` times untimed, once timed), then recorded; notes the overhead.

        `run` must do the same each time (make its generator inside). The recorded time includes writing to disk.
        """
        self._unwatch()
        for _ in range(warmups):
            run()
        plain, _ = _timed(run)
        self._watch()

        def recorded() -> object:
            result = run()
            self._finish_run()
            return result

        wall, result = _timed(recorded)
        self._timing.update(wall_s=wall, plain_wall_s=plain, overhead_pct=100 * (wall / plain - 1))
        return result

    def _finish_run(self) -> None:
        if self._rows_before:
            self._end_step()
        if self.writer is not None:
            self.writer.flush()

    def _watch(self) -> None:
        with contextlib.ExitStack() as stack:
            if self._pipe is not None:
                stack.enter_context(CallWatch(self._pipe, self._on_call))
            self._steps = stack.enter_context(StepWatch(self._scheduler, self._end_step))
            if self.options.modules is None:
                stack.enter_context(Tap(self._taps, self._on_attention))
            else:
                stack.enter_context(ModuleTap(self.model, self.options.modules, self._take))
            before = self.model.register_forward_pre_hook(self._before_model, with_kwargs=True)
            after = self.model.register_forward_hook(self._after_model)
            stack.callback(before.remove)
            stack.callback(after.remove)
            self._watching = stack.pop_all()

    def _unwatch(self) -> None:
        if self._watching is not None:
            self._watching.close()
            self._watching = None

    def _on_call(self, arguments: dict) -> None:
        self._call = describe_call(arguments)

    def _before_model(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        arguments = bound_arguments(model.forward, args, kwargs)
        self._steps.model_called(arguments)
        self._started = self._started or time.perf_counter()
        if not self._sigmas:
            self._set_schedule()
            given = self.options.text_tokens
            self._text_tokens = text_tokens(model, arguments) if given is None else given
        if self.step >= len(self._sigmas) - 1:
            raise RuntimeError(
                f"the model runs again after step {self.step}; a trace holds one run: put all prompts in one batch, "
                "or record each run into a trace of its own"
            )

    def _after_model(self, *_: object) -> None:
        self._rows_before += self._rows_now
        self._rows_now = 0

    def _set_schedule(self) -> None:
        if self.options.sigmas is not None:
            self._sigmas = [float(sigma) for sigma in self.options.sigmas]
        else:
            first, steps = self._steps.schedule()
            self._sigmas = about.scheduler_sigmas(self._scheduler, first, steps)
        self._recorded_steps = chosen("steps", self.options.steps, len(self._sigmas) - 1)

    def _on_attention(self, layer: int, _q: Tensor, k: Tensor, v: Tensor, _attention: Callable) -> None:
        self._take(layer, "k", k)
        self._take(layer, "v", v)

    @torch.no_grad()
    def _take(self, layer: int, tensor: str, x: Tensor) -> None:
        """Measures and hands over x [samples, tokens, heads, head_dim] of the step under way."""
        if self.writer is None:
            self._shape = tuple(x.shape[1:])
            self.writer = self._open_writer(x)
        if tuple(x.shape[1:]) != self._shape:
            raise ValueError(
                f"{self._names[layer]}: {tensor} is {list(x.shape)} of [samples, tokens, heads, head_dim] where others "
                f"are [_, {', '.join(map(str, self._shape))}]; a trace holds layers of one shape"
            )
        self._rows_now = x.shape[0]
        raw = layer in self._layers and self.step in self._recorded_steps
        if self._statistics is not None:
            x = x.detach().to(self._dtype, copy=True, memory_format=torch.contiguous_format)
            self._statistics.add(layer, tensor, self._rows_before, x)
        if raw and (x := self._subset(x)).shape[0]:
            self.writer.put(self.step, layer, tensor, x.to(self._dtype))

    def _subset(self, x: Tensor) -> Tensor:
        options = self.options
        if self._samples is not None:
            rows = [index - self._rows_before for index in self._samples]
            x = x[[row for row in rows if 0 <= row < x.shape[0]]]
        if options.tokens is not None:
            x = x[:, options.tokens[0] : options.tokens[1]]
        return x if options.heads is None else x[:, :, sorted(set(options.heads))]

    def _end_step(self) -> None:
        """The sampler's step is over."""
        if self.writer is None or not self._rows_before:
            return
        samples = None
        if self.step == 0:
            chosen("samples", self._samples, self._rows_before)
            samples = self._describe_samples(self._rows_before)
        lines = self._statistics.take(self.step) if self._statistics is not None else ""
        self.writer.end_step(self.step, lines, samples)
        self.step += 1
        self._rows_before = 0

    def _describe_samples(self, rows: int) -> list[dict]:
        # One call of a doubled batch has the negative prompts first; two calls a step have them last.
        first = "negative" if rows == self._batch else "positive"
        return about.samples(rows, {"first": first, **self._call, **self.options.said_of_samples()})

    def _open_writer(self, x: Tensor) -> TraceWriter:
        """A writer whose manifest describes this run; x is the first tensor of it."""
        self._batch = x.shape[0]
        options, (tokens, heads, head_dim) = self.options, x.shape[1:]
        order = options.token_order or getattr(family_of(self.model), "token_order", "image-only")
        if order == "image-only" and self._text_tokens:
            raise ValueError(f"text_tokens={self._text_tokens}: say where they stand, token_order='text-first' or 'image-first'")
        if options.tokens is not None and not 0 <= options.tokens[0] < options.tokens[1] <= tokens:
            raise ValueError(f"tokens={options.tokens}: the sequence has tokens 0 to {tokens - 1}")
        part = {
            "layers": self._layers,
            "steps": self._recorded_steps,
            "heads": None if options.heads is None else chosen("heads", options.heads, heads),
            "tokens": None if options.tokens is None else list(options.tokens),
        }
        if self._samples is not None:
            part["samples"] = self._samples
        description = {
            "model": {
                "name": options.name or about.model_name(self.model),
                "architecture": type(self.model).__name__,
                "layers": len(self._names), "heads": heads, "head_dim": head_dim,
                "image_tokens": tokens - self._text_tokens, "text_tokens": self._text_tokens,
                "token_order": order,
                "layer_names": self._names,
                "config": about.model_config(self.model),
            },
            "sampler": {
                "name": "given" if self._scheduler is None else type(self._scheduler).__name__,
                "steps": len(self._sigmas) - 1,
                "sigmas": self._sigmas,
            },
            "samples": self._describe_samples(x.shape[0]),
            "recorded": part,
            "dtype": str(self._dtype).removeprefix("torch."),
            "device": about.device(x.device),
            "libraries": about.libraries(),
            "environment": about.environment(),
            "created": about.today(),
            "license": options.license,
        }
        return TraceWriter(
            self.path, description, self._recorded_steps, tensors_per_step=2 * len(self._layers),
            max_buffer_bytes=options.max_buffer_bytes, overwrite=options.overwrite,
        )


def _timed(run: Callable[[], object]) -> tuple[float, object]:
    """(seconds, result) of `run`, with the device's work in it."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else (lambda: None)
    wait()
    start = time.perf_counter()
    result = run()
    wait()
    return time.perf_counter() - start, result
