"""vLLM-Omni: the parser of `vllm serve --omni`, the parallel and the offload configuration, and the fields of a request."""

import argparse
import ast
import dataclasses
import importlib
import json
from pathlib import Path

import stand_ins
from commands import Command, Refused, pipeline, strict

PACKAGE = "vllm_omni"
HOW = "parser and configurations imported, the request against its fields, the model's folder read"
# vLLM's own flags are of another wheel (500 MB): those that are used here.
VLLM = {"--tensor-parallel-size": {"type": int, "default": 1}, "--enforce-eager": {"action": "store_true"}}
# What a folder of a model's source holds where vLLM-Omni splits it so.
SPLITS = {
    "sequence_parallel_size": ("_sp_plan",),
    "tensor_parallel_size": ("ColumnParallelLinear", "QKVParallelLinear"),
    "cfg_parallel_size": ("CFGParallelMixin",),
    "use_hsdp": ("_hsdp_shard_conditions",),
    "vae_patch_parallel_size": ("distributed.autoencoders", "DistributedAutoencoder"),
}
ADDRESS = "http://localhost:8000"


def check(folder: Path):
    """A function that passes a command to vLLM-Omni up to where it would load weights."""
    absent = tuple(f"{PACKAGE}.{name}" for name in ("config", "entrypoints.openai", "entrypoints.utils", "utils.tracking_parser"))
    skipped = (PACKAGE, f"{PACKAGE}.diffusion", f"{PACKAGE}.entrypoints", f"{PACKAGE}.entrypoints.cli")
    stand_ins.open_wheel(folder, PACKAGE, skipped=skipped, absent=absent)
    importlib.import_module("vllm.config.utils").config = _config
    importlib.import_module("vllm.entrypoints.launchers.cli_args").make_arg_parser = _vllm_flags
    serve = importlib.import_module(f"{PACKAGE}.entrypoints.cli.serve")
    data = importlib.import_module(f"{PACKAGE}.diffusion.data")
    registry = importlib.import_module(f"{PACKAGE}.diffusion.registry")
    offload = importlib.import_module(f"{PACKAGE}.diffusion.offloader.config")
    parsers = argparse.ArgumentParser().add_subparsers()
    command_line = serve.OmniServeCommand()
    command_line.name = "serve"
    parser = strict(command_line.subparser_init(parsers))
    source = folder / PACKAGE / PACKAGE / "entrypoints" / "openai"
    fields = {
        "/v1/images/generations": _names(source / "protocol/images.py", "ImageGenerationRequest"),
        "/v1/images/edits": _names(source / "api_server.py", "edit_images"),
        "/v1/videos/sync": _names(source / "video/generation/helpers.py", "_parse_video_form"),
    }

    def one(command: Command) -> None:
        if command.words[:2] != ["vllm", "serve"]:
            raise Refused(f"no {command.words[:2]}")
        given = parser.parse_args(command.words[2:])
        if not given.omni:
            raise Refused("vLLM without --omni")
        degrees = {field.name for field in dataclasses.fields(data.DiffusionParallelConfig)}
        said = {name: value for name, value in vars(given).items() if name in degrees and value is not None}
        config = data.DiffusionParallelConfig(**said)
        config._validate_parallel_config()
        config.resolve_data_parallel_size(given.num_gpus)
        if config.world_size != given.num_gpus:
            raise Refused(f"{given.num_gpus} GPUs, degrees over {config.world_size}")
        offload.parse_diffusion_offload_config(given.diffusion_offload_config)
        _split(registry, folder, pipeline(given.model_tag), config)
        _asked(command.then, fields)

    return one


def _config(kind: type | None = None, **_options: object) -> object:
    """vLLM's decorator of configurations, as a dataclass whose validators are called here."""
    return dataclasses.dataclass(kind) if kind else _config


def _names(file: Path, name: str) -> set[str]:
    """The fields of a class, or the parameters of a function, by the text of a file."""
    found = next(node for node in ast.walk(ast.parse(file.read_text())) if getattr(node, "name", None) == name)
    if isinstance(found, ast.ClassDef):
        return {field.target.id for field in found.body if isinstance(field, ast.AnnAssign)}
    return {argument.arg for argument in found.args.args}


def _vllm_flags(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """What vLLM adds to the parser, as far as commands use it."""
    parser.add_argument("model_tag")
    for flag, options in VLLM.items():
        parser.add_argument(flag, **options)
    return parser


def _split(registry: object, folder: Path, kind: str, config: object) -> None:
    """Refuses a split that vLLM-Omni would leave out with a warning: the source of the model has nothing of it."""
    if kind not in registry._DIFFUSION_MODELS:
        raise Refused(f"no {kind} in the registry")
    of_model = folder / PACKAGE / PACKAGE / "diffusion" / "models" / registry._DIFFUSION_MODELS[kind][0]
    source = "".join(file.read_text() for file in sorted(of_model.glob("*.py")))
    for name, words in SPLITS.items():
        if int(getattr(config, name)) > 1 - (name == "use_hsdp") and not any(word in source for word in words):
            raise Refused(f"{name} of {kind}: its source has none of {words}")


def _asked(words: list[str], fields: dict[str, set[str]]) -> None:
    """Refuses a request with a field that its address does not take."""
    addresses = [word.removeprefix(ADDRESS) for word in words if word.startswith(ADDRESS)]
    if words[:1] != ["curl"] or len(addresses) != 1 or addresses[0] not in fields:
        raise Refused(f"no request: {words}")
    given = [words[at + 1].partition("=")[0] for at, word in enumerate(words) if word == "-F"]
    for at, word in enumerate(words):
        if word == "-d":
            given += json.loads(words[at + 1])
    unknown = set(given) - fields[addresses[0]]
    if unknown or "prompt" not in given:
        raise Refused(f"{addresses[0]} has no {sorted(unknown)}")
