"""An emitted command, taken apart as the shell would."""

import argparse
import csv
import math
import shlex
from dataclasses import dataclass
from pathlib import Path

# What torchrun takes (torch.distributed.run; all are integers, names or hosts).
TORCHRUN = ("--nproc_per_node", "--nnodes", "--rdzv_backend", "--rdzv_endpoint")


class Refused(Exception):
    """An engine does not take a command; the text says why."""


@dataclass
class Command:
    """`variables` NAME=VALUE, `words` from the program on, the Python `script` of a here-document, if there is one, and the
    words of what is run `then`."""

    variables: dict[str, str]
    words: list[str]
    script: str | None
    then: list[str]


# What a person sets in every box of several.
BOXES = {"$NODE_RANK": "0", "$HEAD": "localhost"}


def parse(text: str) -> Command:
    """Takes a command apart; comment lines stand before the first and between two."""
    script = None
    lines = text.splitlines()
    while lines[0].startswith("#"):
        lines.pop(0)
    if lines[0] == "cat > run.py <<'EOF'":
        end = lines.index("EOF")
        script, lines = "\n".join(lines[1:end]), lines[end + 1 :]
    at = next((index for index, line in enumerate(lines) if line.startswith("#")), len(lines))
    words, then = _words(lines[:at]), _words(lines[at + 1 :])
    count = next(index for index, word in enumerate(words) if "=" not in word)
    variables = dict(word.split("=", 1) for word in words[:count])
    return Command(variables, words[count:], script, then)


def _words(lines: list[str]) -> list[str]:
    text = "\n".join(lines).replace("\\\n", " ")
    for name, value in BOXES.items():
        text = text.replace(name, value)
    return shlex.split(text)


def torchrun(words: list[str]) -> tuple[int, list[str]]:
    """Processes that `torchrun ...` starts over all boxes, and the words of the script that each runs."""
    degrees = {"--nnodes": 1}
    index = 1
    while words[index].startswith("--"):
        name, _, value = words[index].partition("=")
        if name not in TORCHRUN:
            raise Refused(f"torchrun knows no {name}")
        if name in ("--nproc_per_node", "--nnodes"):
            degrees[name] = int(value)
        index += 1
    return math.prod(degrees.values()), words[index:]


def strict(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser, whose messages are a `Refused` and which completes no shortened name."""

    def error(message: str) -> None:
        raise Refused(message)

    parser.allow_abbrev = False
    parser.error = error
    return parser


def pipeline(repository: str) -> str:
    """The class of diffusers' pipeline that a repository holds, by its `model_index.json`."""
    with open(Path(__file__).parent / "pipelines.csv") as file:
        classes = {row["repository"]: row["pipeline"] for row in csv.DictReader(file)}
    if repository not in classes:
        raise Refused(f"{repository} is not in tests/engines/pipelines.csv: add it with its pipeline, or none")
    if not classes[repository]:
        raise Refused(f"{repository} holds no pipeline of diffusers")
    return classes[repository]
