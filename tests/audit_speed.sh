#!/usr/bin/env bash
# Times audit against ripgrep, which lists the files that have the word, and against ast-grep, which lists the calls: over
# the Python packages of an image, alternating runs. Then over 100 to 100,000 files of one kind. Prints a table; fails if a
# limit is exceeded. Needs target/release/nixl-retrofit; takes 150 MB from the package index on its first run.
# usage: tests/audit_speed.sh
#   AUDIT_RATIO=1.5       how many times as long as ripgrep audit may take [1.25]
#   AST_GREP_RATIO=50     how many times as long as audit ast-grep takes at least [100]

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 0 ] || usage
need_program
need 'command -v hyperfine' hyperfine
need '[ -x /usr/bin/time ]' time # GNU time: the shell's own does not measure memory
python=$(tests/lab.sh python)
ripgrep=$(tests/lab.sh debian ripgrep)/usr/bin/rg
ast_grep=$(tests/lab.sh tool ast-grep-cli 0.51.1)/ast-grep
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

trees=()
for package in 'ai-dynamo 1.6.1' 'ai-dynamo-runtime 1.6.1' 'lmcache 0.5.6' 'modelexpress 0.7.0' 'sglang 0.5.10' \
    'torch 2.15.0' 'vllm 0.33.0'; do
    # shellcheck disable=SC2086 # name and version
    trees+=("$(tests/lab.sh sources $package)")
done

# A program that fails or finds nothing is fast.
[ "$("$ripgrep" -l nixl "${trees[@]}" | wc -l)" -gt 100 ] || fail 'ripgrep found too few files'
status=0
"$program" audit "${trees[@]}" >"$scratch/audit.txt" || status=$?
[ "$status" = 1 ] || fail "audit exited $status, expected 1"
/usr/bin/time --quiet -f %M -o "$scratch/peak" "$program" audit "${trees[@]}" >"$scratch/audit.txt" || true

# --ignore-failure: audit exits with 1 when something ignores every setting. Rounds spread other load on the machine.
for round in 1 2 3 4 5 6; do
    hyperfine -N --warmup 1 --runs 6 --ignore-failure --style basic --export-json "$scratch/round-$round.json" \
        --command-name ripgrep "'$ripgrep' -l nixl ${trees[*]}" \
        --command-name audit "'$program' audit ${trees[*]}" >"$scratch/hyperfine.log" 2>&1 ||
        { cat "$scratch/hyperfine.log" >&2; fail 'hyperfine failed'; }
done
hyperfine -N --warmup 0 --runs 2 --ignore-failure --style basic --export-json "$scratch/ast-grep.json" \
    --command-name ast-grep "'$ast_grep' run --lang python --pattern nixl_agent(\$\$\$) ${trees[*]}" \
    >"$scratch/hyperfine.log" 2>&1 || { cat "$scratch/hyperfine.log" >&2; fail 'hyperfine failed on ast-grep'; }

# A hundredth of the files has an agent.
"$python" - "$scratch" <<'PYTHON'
import os, sys
filler = "def f(x):\n    return [x, 1, 2]\n\n" * 20
agent = "from nixl._api import nixl_agent\n\ndef make(name):\n    return nixl_agent(name)\n\n"
for count in (100, 1_000, 10_000, 100_000):
    for number in range(count):
        folder = f"{sys.argv[1]}/many-{count}/p{number // 100}"
        if number % 100 == 0:
            os.makedirs(folder)
        with open(f"{folder}/m{number % 100}.py", "w") as file:
            file.write((agent if number % 100 == 0 else "") + filler)
PYTHON
for count in 100 1000 10000 100000; do
    hyperfine -N --warmup 1 --runs 5 --ignore-failure --style basic --export-json "$scratch/many-$count.json" \
        --command-name "$count" "'$program' audit $scratch/many-$count" >"$scratch/hyperfine.log" 2>&1 ||
        { cat "$scratch/hyperfine.log" >&2; fail 'hyperfine failed'; }
    /usr/bin/time --quiet -f "$count %M" -o "$scratch/peaks" -a "$program" audit "$scratch/many-$count" >/dev/null || true
done

"$python" - "$scratch" "${AUDIT_RATIO:-1.25}" "${AST_GREP_RATIO:-100}" <<'PYTHON'
import json, pathlib, statistics, sys

scratch, most, least = pathlib.Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
times = {}
for path in [*sorted(scratch.glob("round-*.json")), scratch / "ast-grep.json", *scratch.glob("many-*.json")]:
    for run in json.loads(path.read_text())["results"]:
        times.setdefault(run["command"], []).extend(run["times"])
median = {name: statistics.median(all_times) for name, all_times in times.items()}
peak = int((scratch / "peak").read_text().split()[-1])
peaks = dict(line.split() for line in (scratch / "peaks").read_text().splitlines() if line[0].isdigit())
audit = median["audit"]
failed = []

def judge(what, value, limit, good, unit=""):
    print(f"{'ok' if good else 'FAILED':6} {what}: {value:.2f}{unit}, limit {limit}{unit}")
    if not good:
        failed.append(what)

print(f"audit {audit * 1e3:.0f} ms, ripgrep {median['ripgrep'] * 1e3:.0f} ms, ast-grep {median['ast-grep'] * 1e3:.0f} ms")
judge("audit / ripgrep", audit / median["ripgrep"], most, audit / median["ripgrep"] <= most)
judge("ast-grep / audit", median["ast-grep"] / audit, least, median["ast-grep"] / audit >= least)
judge("peak memory", peak / 1024, 64, peak <= 64 << 10, " MiB")
for count in (100, 1_000, 10_000, 100_000):
    print(f"       {count} files: {median[str(count)] * 1e3:.1f} ms, {int(peaks[str(count)]) / 1024:.0f} MiB")
# A file of the largest tree takes no longer than one of a hundredth of them.
growth = median["100000"] / median["1000"] / 100
judge("time a file, 100,000 files / 1,000", growth, 1.5, growth <= 1.5)
judge("peak memory, 100,000 files", int(peaks["100000"]) / 1024, 64, int(peaks["100000"]) <= 64 << 10, " MiB")
sys.exit(bool(failed))
PYTHON
