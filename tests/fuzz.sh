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
# The longest input of each round in turn, in bytes. A short one takes a fraction of the time of a long one, and a module of
# one call has 60. Each length has a corpus of its own: cut to a shorter one, the inputs of another would be the same ones.
# 10 million executions of `source` took 55 minutes, 31 of one processor, with libFuzzer's own -len_control.
lengths=(64 256 64 8192)
round_seconds=300
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

# Without a sanitizer: the code behind the targets is safe Rust, and a stable compiler will do.
build() {
    # proc-macro2 has no positions where cfg(fuzzing) is set, so a cfg of our own takes its place.
    RUSTFLAGS="--cfg nixl_retrofit_fuzzing" RUSTC_WRAPPER=$PWD/fuzz/rustc.sh \
        nice -n 19 cargo fuzz build --sanitizer none --no-cfg-fuzzing "$1"
}

# The corpora for a length, one a line: its own, then the shorter ones.
corpora() {
    printf '%s\n' "${lengths[@]}" | sort -rnu |
        awk -v length_now="$2" -v target="$1" '$1 <= length_now { print "fuzz/corpus/" target "/" $1 }'
}

# One round of a target, in two processes that learn from each other's inputs. Inputs that take long are chosen less often.
# A round does not begin with short ones: it would end before the long. The targets themselves bound the processor time;
# libFuzzer's limits are of real time, of which a busy machine takes a minute for nothing.
round() {
    local target=$1 length=$2 logs=$3 dictionary=python folders process processes=() status=0
    [ "$target" != rust ] || dictionary=rust
    mapfile -t folders < <(corpora "$target" "$length")
    mkdir -p "${folders[@]}" "fuzz/artifacts/$target"
    for process in 1 2; do
        nice -n 19 "fuzz/target/$(uname -m)-unknown-linux-gnu/release/$target" "${folders[@]}" "fuzz/seeds/$target" \
            -dict="fuzz/$dictionary.dict" -max_len="$length" -len_control=0 -entropic_scale_per_exec_time=1 \
            -timeout=600 -report_slow_units=600 -rss_limit_mb=4096 -max_total_time=$round_seconds -print_final_stats=1 \
            -artifact_prefix="fuzz/artifacts/$target/" >"$logs/$process" 2>&1 &
        processes+=($!)
    done
    for process in "${processes[@]}"; do wait "$process" || status=$?; done
    return "$status"
}

full() {
    local target=$1 logs started=$SECONDS count=0 number=0
    logs=$(mktemp -d)
    build "$target" >"$logs/1" 2>&1 || { tail -n 40 "$logs/1"; fail "$target: no build"; }
    while [ "$count" -lt "$executions" ] || [ $((SECONDS - started)) -lt "$seconds" ]; do
        round "$target" "${lengths[number++ % ${#lengths[@]}]}" "$logs" || { tail -n 40 "$logs"/?; fail "$target: a finding"; }
        count=$((count + $(awk '$1 == "stat::number_of_executed_units:" { sum += $2 } END { print sum }' "$logs"/?)))
        say "$target: $count executions in $((SECONDS - started)) s"
    done
    rm -rf "$logs"
}

if [ -z "$full" ]; then
    short
    exit
fi
need_cargo_fuzz
# A syntax tree can be as deep as its source is long; libFuzzer runs the targets on the main thread.
ulimit -s 524288
for target in "${chosen[@]}"; do full "$target"; done
