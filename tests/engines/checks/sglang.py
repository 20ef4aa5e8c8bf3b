"""SGLang Diffusion: the parser of `sglang generate`, its server arguments and those of a request, all imported."""

import argparse
import importlib
import os
import sys
from pathlib import Path

import stand_ins
from commands import Command, Refused, pipeline, strict

PACKAGE = "sglang.multimodal_gen"
HOW = "parser, server and request imported, on a GPU that is told to be an H100"


def check(folder: Path):
    """A function that passes a command to SGLang up to where it would start its workers."""
    os.environ["SGLANG_DIFFUSION_PLATFORM_OVERRIDE"] = "cuda"
    stand_ins.open_wheel(
        folder,
        "sglang",
        skipped=("sglang", PACKAGE),
        absent=("sglang.srt", "sglang.kernels", "sglang.jit_kernel"),
    )
    generate = importlib.import_module(f"{PACKAGE}.runtime.entrypoints.cli.generate")
    server = importlib.import_module(f"{PACKAGE}.runtime.server_args.server_args")
    registry = importlib.import_module(f"{PACKAGE}.registry")
    _pretend_gpu()
    parser = strict(argparse.ArgumentParser())
    generate.add_multimodal_gen_generate_args(parser)
    registry.maybe_download_model_index = lambda repository: {"_class_name": pipeline(repository)}

    def one(command: Command) -> None:
        if command.words[:2] != ["sglang", "generate"]:
            raise Refused(f"no {command.words[:2]}")
        sys.argv = command.words
        namespace, unknown = parser.parse_known_args(command.words[2:])
        arguments = server.ServerArgs.from_cli_args(namespace, unknown)
        if type(arguments.pipeline_config).__name__.startswith("Diffusers"):
            raise Refused(f"no pipeline of its own for {arguments.model_path}")
        request = generate._resolve_cli_sampling_params_cls(arguments)
        sampling = request.from_user_sampling_params_args(
            arguments.model_path, server_args=arguments, **request.get_cli_args(namespace)
        )
        sampling._validate_with_pipeline_config(arguments.pipeline_config)

    return one


def _pretend_gpu() -> None:
    """Tells SGLang of one of eight H100: 80 GB, of which 78 are free."""
    cuda = importlib.import_module(f"{PACKAGE}.runtime.platforms.cuda")
    platform = type(importlib.import_module(f"{PACKAGE}.runtime.platforms").current_platform)
    for name, value in {
        "get_device_total_memory": 80 << 30,
        "get_device_name": "H100",
        "get_device_capability": cuda.DeviceCapability(9, 0),
        "get_available_gpu_memory": 78.0,
    }.items():
        setattr(platform, name, classmethod(lambda *_, value=value, **__: value))
