"""Reads the list of what is linked in with the CycloneDX project's own library: sbom.py SBOM METADATA

It must keep to its schema, strictly, and have the same crates and edges as `cargo metadata` tells.
"""

import json
import sys

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

with open(sys.argv[1]) as file:
    text = file.read()
with open(sys.argv[2]) as file:
    metadata = json.load(file)

wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
assert wrong is None, wrong
bom = Bom.from_json(json.loads(text))
bom.validate()

# What is linked: from the root along normal dependencies, without macros, which run in the compiler.
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}


def name(package_id):
    package = packages[package_id]
    return f"pkg:cargo/{package['name']}@{package['version']}"


def is_linked(dependency):
    kinds = packages[dependency["pkg"]]["targets"]
    return any(kind["kind"] is None for kind in dependency["dep_kinds"]) and not any(
        "proc-macro" in target["kind"] for target in kinds
    )


root = metadata["resolve"]["root"]
expected, ahead = {}, [root]
while ahead:
    at = ahead.pop()
    needed = [d["pkg"] for d in nodes[at]["deps"] if is_linked(d)]
    expected["monad_async" if at == root else name(at)] = {name(n) for n in needed}
    ahead += [n for n in needed if name(n) not in expected]

found = {d.ref.value: {e.ref.value for e in d.dependencies} for d in bom.dependencies}
std = {c.bom_ref.value for c in bom.components if c.name == "rust-std"}
assert len(std) == 1 and std <= found["monad_async"], std
found = {ref: needs - std for ref, needs in found.items() if ref not in std}
assert found == expected, f"{found}\ninstead of\n{expected}"
purls = {str(component.purl) for component in bom.components if component.name != "rust-std"}
assert purls == set(expected) - {"monad_async"}, purls
for component in bom.components:
    assert component.name == "rust-std" or component.hashes, component
    assert component.licenses, component
assert bom.metadata.component.purl is not None
print(f"{len(purls)} crates")
