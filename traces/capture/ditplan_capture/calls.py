"""Watches a pipeline: what it was called with, and where its sampler stands.

A step ends when the scheduler's `step` is called, so a model that is called twice a step (guidance by two passes)
stays in one step. Without a scheduler a step ends when the model's timestep argument changes.
"""

from __future__ import annotations

import functools
import inspect
from typing import Callable, Optional

import torch
from torch import nn


def _listed(value: object) -> list:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def describe_call(arguments: dict) -> dict:
    """Prompts, negative prompts, seeds and guidance of a pipeline call's arguments by name."""
    generators = [g for g in _listed(arguments.get("generator")) if isinstance(g, torch.Generator)]
    return {
        "prompts": _listed(arguments.get("prompt")),
        "negative_prompts": _listed(arguments.get("negative_prompt")),
        "images_per_prompt": arguments.get("num_images_per_prompt") or arguments.get("num_videos_per_prompt") or 1,
        "seeds": [generator.initial_seed() for generator in generators],
        "guidance": arguments.get("guidance_scale"),
    }


def bound_arguments(function: Callable, args: tuple, kwargs: dict) -> dict:
    """Arguments of a call by name, defaults included; what cannot be bound is left out."""
    try:
        bound = inspect.signature(function).bind_partial(*args, **kwargs)
    except (TypeError, ValueError):
        return dict(kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


class CallWatch:
    """While entered, `pipe(...)` tells `on_call` its arguments by name first.

    Python looks `__call__` up on the class, so the instance gets a subclass of its own for the time being.
    """

    def __init__(self, pipe: object, on_call: Callable[[dict], None]) -> None:
        self._pipe, self._on_call = pipe, on_call
        self._class = type(pipe)

    def __enter__(self) -> "CallWatch":
        cls, on_call = self._class, self._on_call

        @functools.wraps(cls.__call__)
        def call(pipe: object, *args: object, **kwargs: object) -> object:
            on_call(bound_arguments(functools.partial(cls.__call__, pipe), args, kwargs))
            return cls.__call__(pipe, *args, **kwargs)

        body = {"__call__": call, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
        self._pipe.__class__ = type(cls.__name__, (cls,), body)
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.__class__ = self._class


class StepWatch:
    """While entered, calls `on_step_end` when a sampler step is over."""

    def __init__(self, scheduler: Optional[object], on_step_end: Callable[[], None]) -> None:
        self._scheduler, self._on_step_end = scheduler, on_step_end
        self._timestep: Optional[float] = None

    def __enter__(self) -> "StepWatch":
        if self._scheduler is not None:
            original = self._scheduler.step

            @functools.wraps(original)
            def step(*args: object, **kwargs: object) -> object:
                self._on_step_end()
                return original(*args, **kwargs)

            self._scheduler.step = step
        return self

    def __exit__(self, *_: object) -> None:
        if self._scheduler is not None:
            del self._scheduler.step

    def model_called(self, arguments: dict) -> None:
        """The model is about to run; without a scheduler its timestep says whether a new step begins."""
        if self._scheduler is not None:
            return
        value = next((arguments[name] for name in ("timestep", "t", "timesteps") if name in arguments), None)
        if value is None:
            raise ValueError("the model has no argument timestep or t; give the scheduler: record(..., scheduler=...)")
        timestep = float(torch.as_tensor(value).flatten()[0])
        if self._timestep is not None and timestep != self._timestep:
            self._on_step_end()
        self._timestep = timestep

    def schedule(self) -> tuple[int, int]:
        """(first, number) of the scheduler's steps in this run; first > 0 where a picture is only touched up."""
        first = getattr(self._scheduler, "begin_index", None) or 0
        return first, len(self._scheduler.timesteps) - first


def find_transformer(target: object) -> tuple[nn.Module, Optional[object]]:
    """(transformer, scheduler) of a pipeline, or the module itself and none."""
    if isinstance(target, nn.Module):
        return target, None
    for name in ("transformer", "model"):
        if isinstance(getattr(target, name, None), nn.Module):
            return getattr(target, name), getattr(target, "scheduler", None)
    raise TypeError(f"{type(target).__name__} is neither a module nor a pipeline with a transformer")
