"""Prints hyperfine's results and the peak memory as a table, writes it as Markdown, and fails if a limit is exceeded.

usage: judge.py HYPERFINE_JSON MEMORY_TSV MARKDOWN
"""

import json
import os
import platform
import sys

SLOWEST_RATIO = float(os.environ.get("BENCHMARK_RATIO", "1.8"))
LARGEST_KIB = 16 * 1024
OURS = {"check": "ast-grep, dry", "apply": "ast-grep, rewriting"}


def main() -> int:
    results, memory_file, markdown = sys.argv[1:]
    with open(results) as file:
        median = {run["command"]: run["median"] for run in json.load(file)["results"]}
    with open(memory_file) as file:
        memory = {name: int(kib) for name, kib in (line.rstrip("\n").split("\t") for line in file)}

    rows = ["| work on the same file | median | peak memory | as long as check |", "| --- | --- | --- | --- |"]
    for name, seconds in median.items():
        kib = f"{memory[name] / 1024:.1f} MiB" if name in memory else ""
        rows.append(f"| {name} | {seconds * 1000:.2f} ms | {kib} | {seconds / median['check']:.2f} × |")
    table = "\n".join(rows)
    with open(markdown, "w") as file:
        file.write(f"{table}\n\n{platform.machine()}, dynamo/nixl_connect/__init__.py of ai-dynamo-runtime 1.6.1\n")
    print(table)

    passed = failed = 0

    def judge(good: bool, text: str) -> None:
        nonlocal passed, failed
        print(f"{'ok     ' if good else 'FAILED '} {text}")
        passed, failed = passed + good, failed + (not good)

    for own, peer in OURS.items():
        ratio = median[peer] / median[own]
        judge(ratio >= SLOWEST_RATIO, f"{own} is {ratio:.2f} times as fast as {peer} (at least {SLOWEST_RATIO})")
        judge(memory[own] <= LARGEST_KIB, f"{own} uses {memory[own] / 1024:.1f} MiB (at most {LARGEST_KIB // 1024})")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
