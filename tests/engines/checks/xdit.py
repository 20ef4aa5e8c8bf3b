"""xDiT: the parsers of its runner and its examples, its degrees, and the class that runs the model, all imported."""

import importlib
import os
import sys
from pathlib import Path

import stand_ins
from commands import Command, Refused, strict, torchrun

PACKAGE = "xfuser"
MODELS = f"{PACKAGE}.model_executor.models.runner_models"
HOW = "parser, degrees and the model's class imported"


def check(folder: Path):
    """A function that passes a command to xDiT up to where it would load weights."""
    os.environ.update(RANK="0", WORLD_SIZE="1")
    folders = ["", ".core", ".core.distributed", ".core.utils", ".core.fast_attention", ".core.cache_manager"]
    folders += [".core.sparge_attention", ".model_executor", ".model_executor.models"]
    stand_ins.open_wheel(
        folder,
        PACKAGE,
        skipped=tuple(PACKAGE + name for name in folders) + (MODELS,),
        absent=tuple(f"{PACKAGE}.model_executor.{name}" for name in ("layers", "pipelines", "models.transformers")),
    )
    arguments = importlib.import_module(f"{PACKAGE}.config.args")
    # The package that Ulysses and Ring need counts as installed.
    sys.modules[f"{PACKAGE}.config.config"].HAS_LONG_CTX_ATTN = True
    for file in sorted((folder / PACKAGE).joinpath(*MODELS.split(".")).glob("[a-z]*.py")):
        importlib.import_module(f"{MODELS}.{file.stem}")
    registry = sys.modules[f"{MODELS}.base_model"].MODEL_REGISTRY
    distributed = sys.modules["torch.distributed"]
    distributed.is_initialized = lambda: True

    def one(command: Command) -> None:
        runs = command.words[0] == "xdit"
        world, words = _xdit(command.words) if runs else torchrun(command.words)
        parser = arguments.FlexibleArgumentParser()
        add = arguments.xFuserArgs.add_runner_args if runs else arguments.xFuserArgs.add_cli_args
        namespace = strict(add(parser)).parse_args(words[0 if runs else 1 :])
        config = arguments.xFuserArgs.from_cli_args(namespace)
        distributed.get_world_size = lambda: world
        config.create_config()
        if runs:
            if config.model not in registry:
                raise Refused(f"no model {config.model} in the runner")
            model = registry[config.model](config)
            # Images are counted, not opened.
            model._preprocess_args_images = model._validate_args
            model.preprocess_args(vars(namespace))
        elif "COMPACT_TEST_ENABLE" not in command.variables and not (folder / PACKAGE / words[0]).exists():
            raise Refused(f"no {words[0]}")

    return one


def _xdit(words: list[str]) -> tuple[int, list[str]]:
    """Processes that `xdit` starts over all boxes, and the words of its runner."""
    launcher = importlib.import_module(f"{PACKAGE}.cli")
    values, rest = launcher.extract_torchrun_args(words[1:])
    counted = launcher.get_nproc_from_args(rest)
    started = int(values["--nproc_per_node"] or counted) * int(values["--nnodes"])
    return started, rest

