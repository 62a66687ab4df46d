#!/bin/sh
# Cargo's RUSTC_WRAPPER for the fuzz targets. Only this repository's code tells libFuzzer what an input reaches, and none
# what it compares: the grammar of rustpython-parser is one `match` of a thousand arms, to trace which takes most of the
# time of an execution, and the dictionaries have the words that comparisons would give away.
rustc=$1
shift
ours=
case " $* " in
    *' --crate-name nixl_retrofit '* | *fuzz_targets/*) ours=yes ;;
esac
for argument; do
    shift
    case $ours$argument in
        *-trace-compares) ;;
        -Cpasses=sancov-module | -Cllvm-args=-sanitizer-coverage-* | -Cllvm-args=-simplifycfg-*) ;;
        *) set -- "$@" "$argument" ;;
    esac
done
exec "$rustc" "$@"
