"""diffusers and cache-dit: the script is run. Their configurations, planners and signatures are imported; weights are not."""

import importlib
import inspect
import re
import types
from pathlib import Path

import stand_ins
from commands import Command, Refused, pipeline, torchrun

HOW = "script run: configurations constructed, planners and signatures imported"


def check(folder: Path):
    """A function that runs an emitted script up to where it would load weights or need a GPU."""
    stand_ins.open_wheel(folder, "diffusers", absent=("diffusers.dependency_versions_check",))
    stand_ins.open_wheel(folder, "cache_dit")
    diffusers = importlib.import_module("diffusers")
    cache_dit = importlib.import_module("cache_dit")
    real_cache = inspect.signature(cache_dit.enable_cache)
    hooks = importlib.import_module("diffusers.hooks")
    hooks.apply_group_offloading = _bound(hooks.apply_group_offloading)
    cache_dit.quantize = _bound(cache_dit.quantize)

    def one(command: Command) -> None:
        world, words = torchrun(command.words)
        if words != ["run.py"]:
            raise Refused(f"torchrun starts {words}")
        run = _Run(world, diffusers)

        class Loader:
            @staticmethod
            def from_pretrained(repository: str, torch_dtype: object) -> _Pipeline:
                del torch_dtype
                return _Pipeline(run, getattr(diffusers, pipeline(repository)))

        def enable_cache(*arguments: object, **named: object) -> None:
            bound = real_cache.bind(*arguments, **named).arguments
            run.split_by_cache_dit(bound["pipe_or_adapter"], bound["parallelism_config"])

        diffusers.DiffusionPipeline = Loader
        diffusers.utils.load_image = str
        cache_dit.enable_cache = enable_cache
        exec(compile(command.script, "run.py", "exec"), {"__name__": "__main__"})
        if run.called != 1 or run.split != world:
            raise Refused(f"{world} processes, a split over {run.split}, {run.called} calls")

    return one


def _bound(function: object):
    """A function that does nothing with arguments that `function` takes, and refuses others."""
    signature = inspect.signature(function)

    def bound(*arguments: object, **named: object) -> None:
        signature.bind(*arguments, **named)

    return bound


class _Run:
    """What one script did: over how many ranks it split its model, and how often it called its pipeline."""

    def __init__(self, world: int, diffusers: types.ModuleType) -> None:
        self.world = world
        self.diffusers = diffusers
        self.split = 1
        self.called = 0

    def split_by_cache_dit(self, pipe: "_Pipeline", config: object) -> None:
        """As cache_dit.distributed.transformers.dispatch does, up to the device mesh."""
        parts = "cache_dit.distributed"
        planners = importlib.import_module(f"{parts}.transformers.planners")
        register = importlib.import_module(f"{parts}.transformers.register")
        kind = pipe.transformer.kind.__name__
        if config.cp_enabled():
            importlib.import_module(f"{parts}.core._modeling_parallel")._ContextParallelConfig(
                ulysses_degree=config.ulysses_size,
                ring_degree=config.ring_size,
                rotate_method=config.ring_rotate_method,
                ulysses_anything=config.ulysses_anything,
            )
            planners._activate_cp_planners()
            register.ContextParallelismPlannerRegister.get_planner(kind)
        if config.tp_enabled():
            planners._activate_tp_planners()
            register.TensorParallelismPlannerRegister.get_planner(kind)
        for module in config.extra_parallel_modules:
            register = importlib.import_module(f"{parts}.autoencoders.register")
            importlib.import_module(f"{parts}.autoencoders.planners")._activate_auto_encoder_dp_planners()
            register.AutoEncoderDataParallelismPlannerRegister.get_planner(module.kind.__name__)
        self.split = config._get_world_size()


class _Model:
    """A transformer of a pipeline: its class, and what a script does to it."""

    def __init__(self, run: _Run, kind: type) -> None:
        self.run = run
        self.kind = kind

    def set_attention_backend(self, name: str) -> None:
        dispatch = importlib.import_module("diffusers.models.attention_dispatch")
        backend = dispatch.AttentionBackendName(name)
        if self.run.world > 1 and not dispatch._AttentionBackendRegistry._is_context_parallel_available(backend):
            raise Refused(f"attention by {name} is not split")

    def enable_parallelism(self, *, config: object) -> None:
        if self.kind._cp_plan is None:
            raise Refused(f"{self.kind.__name__} has no _cp_plan")
        ring, ulysses = config.mesh_shape
        self.run.split = ring * ulysses

    def compile(self) -> None:
        return None


class _Pipeline:
    """A pipeline of diffusers without weights: what it has and takes is read from the signatures of its class."""

    def __init__(self, run: _Run, kind: type) -> None:
        self.run = run
        self.kind = kind
        for part, parameter in inspect.signature(kind.__init__).parameters.items():
            if part in ("transformer", "transformer_2", "unet", "vae"):
                setattr(self, part, _Model(run, _class(run.diffusers, parameter.annotation)))

    def to(self, _device: str) -> "_Pipeline":
        return self

    def enable_model_cpu_offload(self) -> None:
        return None

    def __call__(self, **named: object) -> None:
        signature = inspect.signature(inspect.unwrap(self.kind.__call__))
        signature.bind(self, **named)
        # Some take any name besides, and ignore it.
        unknown = set(named) - set(signature.parameters)
        if unknown:
            raise Refused(f"{self.kind.__name__} takes no {sorted(unknown)}")
        self.run.called += 1


def _class(diffusers: types.ModuleType, annotation: object) -> type:
    """The class of diffusers that an annotation names."""
    if isinstance(annotation, type):
        return annotation
    names = re.findall(r"[A-Z]\w+", getattr(annotation, "__name__", None) or str(annotation))
    return next(getattr(diffusers, name) for name in names if isinstance(getattr(diffusers, name, None), type))
