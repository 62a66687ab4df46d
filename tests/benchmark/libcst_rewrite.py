"""The same edit as a LibCST transformer.

usage: libcst_rewrite.py [--write] FILE    without --write the result is discarded
"""

import sys

import libcst as cst
import libcst.matchers as m

CALL = m.Call(func=m.Attribute(value=m.Name("nixl_api"), attr=m.Name("nixl_agent")), args=[m.Arg(keyword=None)])


class GiveBackends(cst.CSTTransformer):
    """Adds the configuration as a second argument."""

    def __init__(self) -> None:
        self.calls = 0

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        if not m.matches(updated_node, CALL):
            return updated_node
        self.calls += 1
        configuration = cst.parse_expression("nixl_api.nixl_agent_config(backends=_nixl_backends())")
        return updated_node.with_changes(args=[*updated_node.args, cst.Arg(configuration)])


def main() -> int:
    path = sys.argv[-1]
    with open(path, "rb") as file:
        module = cst.parse_module(file.read())
    transformer = GiveBackends()
    result = module.visit(transformer).bytes
    if "--write" in sys.argv[1:-1]:
        with open(path, "wb") as file:
            file.write(result)
    return 0 if transformer.calls == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
