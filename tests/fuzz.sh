#!/usr/bin/env bash
# Feeds the fuzz targets: the functions of src/fuzzing/, which panic where something does not hold for an input.
# usage: tests/fuzz.sh [--full] [TARGET]...
#   --full   with cargo-fuzz, which learns from the code that an input reaches: each target 10 million executions or 30
#            minutes, whichever is later. Otherwise 15 seconds, with the compiler alone
#   TARGET   only these: source rust record marker encoding

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
targets='source rust record marker encoding'
executions=10000000
seconds=1800
full=
chosen=()
for argument in "$@"; do
    case " $targets --full " in
        *" $argument "*) ;;
        *) usage ;;
    esac
    if [ "$argument" = --full ]; then full=yes; else chosen+=("$argument"); fi
done
[ ${#chosen[@]} != 0 ] || read -ra chosen <<<"$targets"

short() {
    NIXL_RETROFIT_FUZZ_SECONDS=15 cargo test --locked --lib -- --ignored --nocapture "${chosen[@]/#/fuzzing::tests::campaign_of_}"
}

need_cargo_fuzz() {
    need 'command -v c++' g++
    cargo fuzz --version >/dev/null 2>&1 || quietly cargo install --locked cargo-fuzz
}

# One round of a target. Without a sanitizer: the code behind the targets is safe Rust, and a stable compiler will do.
round() {
    local target=$1 log=$2 dictionary=python
    [ "$target" != rust ] || dictionary=rust
    mkdir -p "fuzz/corpus/$target"
    # proc-macro2 has no positions where cfg(fuzzing) is set, so a cfg of our own takes its place.
    RUSTFLAGS="--cfg nixl_retrofit_fuzzing" nice -n 19 cargo fuzz run --sanitizer none --no-cfg-fuzzing "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -dict="fuzz/$dictionary.dict" -max_len=8192 -timeout=30 -rss_limit_mb=4096 -max_total_time=600 -print_final_stats=1 \
        >"$log" 2>&1
}

full() {
    local target=$1 log started=$SECONDS count=0
    log=$(mktemp)
    while [ "$count" -lt "$executions" ] || [ $((SECONDS - started)) -lt "$seconds" ]; do
        round "$target" "$log" || { tail -n 40 "$log"; fail "$target: a finding, or no build"; }
        count=$((count + $(awk '$1 == "stat::number_of_executed_units:" { print $2 }' "$log")))
        say "$target: $count executions in $((SECONDS - started)) s"
    done
    rm -f "$log"
}

if [ -z "$full" ]; then
    short
    exit
fi
need_cargo_fuzz
# A syntax tree can be as deep as its source is long; libFuzzer runs the targets on the main thread.
ulimit -s 524288
for target in "${chosen[@]}"; do full "$target"; done
