#!/usr/bin/env python3
"""Holds deny.toml where cargo-deny is not installed: licences, sources and versions of every dependency in Cargo.lock.

`cargo deny check licenses bans sources` says the same and more; this needs nothing but cargo and Python 3.11.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
RULES = tomllib.loads((HERE / "deny.toml").read_text())
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def allowed(expression: str, licences: set[str]) -> bool:
    """Whether an SPDX expression can be met by `licences`; AND binds closer than OR, WITH stays with its licence."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either() -> bool:
        met = both()
        while words and words[0] == "OR":
            words.pop(0)
            met = both() or met
        return met

    def both() -> bool:
        met = one()
        while words and words[0] == "AND":
            words.pop(0)
            met = one() and met
        return met

    def one() -> bool:
        word = words.pop(0)
        if word == "(":
            met = either()
            words.pop(0)
            return met
        if words and words[0] == "WITH":
            word = f"{word} WITH {words[1]}"
            del words[:2]
        return word in licences

    return either()


def main() -> int:
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"]
    packages = json.loads(subprocess.run(command, cwd=HERE, check=True, capture_output=True).stdout)["packages"]
    licences = set(RULES["licenses"]["allow"])
    skipped = {rule["crate"] for rule in RULES["bans"]["skip"]}
    wrong, versions = [], defaultdict(set)
    for package in packages:
        name, version, source = package["name"], package["version"], package["source"]
        if source is None:
            continue
        if source != REGISTRY:
            wrong.append(f"{name} {version} is from {source}: only crates.io is allowed")
        if not allowed(package["license"] or "none", licences):
            wrong.append(f"{name} {version} is under {package['license']}: deny.toml does not allow it")
        known = {f"{name}@{'.'.join(version.split('.')[:parts])}" for parts in (1, 2, 3)}
        versions[name] |= set() if known & skipped else {version}
    wrong += [f"{name} is there in {len(all)} versions: {sorted(all)}" for name, all in versions.items() if len(all) > 1]
    print("\n".join(wrong) or f"{len(packages)} packages: licences, sources and versions as deny.toml wants them")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
