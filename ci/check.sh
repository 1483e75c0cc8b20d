#!/usr/bin/env bash
# Everything that must hold before a change goes in. Needs rustup's default toolchain and a C
# compiler; what else is needed is used where it is installed, and named at the end where not.
#
# All steps run, also after one has failed. Exit status 1 if any has failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
# What is not installed is reported, not installed behind one's back.
export RUSTUP_AUTO_INSTALL=0

readonly SKIPPED=77
summary=()
failed=0

# step NAME COMMAND...: runs the command under a heading and notes what came of it.
step() {
    local name=$1 begun=$SECONDS status outcome
    shift
    printf '\n==> %s\n' "$name"
    set +e
    (set -e; "$@")
    status=$?
    set -e
    case $status in
        0) outcome=ok ;;
        "$SKIPPED") outcome=SKIPPED ;;
        *) outcome=FAILED failed=1 ;;
    esac
    summary+=("$(printf '%-8s %5ss  %s' "$outcome" $((SECONDS - begun)) "$name")")
}

clippy() {
    cargo clippy --locked --workspace --all-targets -- -D warnings
}

docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
}

# The quick start, and a service that stops while its database is down, then starts again.
examples() {
    dir=$(mktemp -d)
    trap 'rm -r "$dir"' EXIT
    cargo run --locked --quiet --example quickstart >/dev/null
    cargo run --locked --quiet --example shutdown "$dir/leftovers" >/dev/null
    test -s "$dir/leftovers"
    cargo run --locked --quiet --example shutdown "$dir/leftovers" >/dev/null
    test ! -e "$dir/leftovers"
}

# Each model, and for each ordering on which it leans, that the model fails without it.
loom() {
    export RUSTFLAGS="--cfg swaplane_loom"
    cargo clippy --locked --profile loom --lib --tests --target-dir "$target/loom" -- -D warnings
    cargo test --locked --profile loom --lib --target-dir "$target/loom" loom_tests
}

# The unsafe code, run by an interpreter that sees undefined behaviour, with several schedules.
miri() {
    if ! cargo +nightly miri setup </dev/null >/dev/null 2>&1; then
        echo "no nightly toolchain with the components miri and rust-src: nothing was checked"
        echo "(rustup toolchain install nightly --component miri,rust-src)"
        exit "$SKIPPED"
    fi
    export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-many-seeds=0..8"
    cargo +nightly miri test --locked --target-dir "$target/miri" --lib queue::lane::
    cargo +nightly miri test --locked --target-dir "$target/miri" --test lanes
}

step "format" cargo fmt --all --check
step "layout" ci/layout.sh
step "lints" clippy
step "tests: unit, integration, documentation" cargo test --locked --workspace
step "documentation" docs
step "examples" examples
step "locked instructions" ci/locked.sh
step "mutants that are patches" ci/mutants.sh --check
step "models (loom)" loom
step "oldest Rust" ci/msrv.sh
step "lanes under Miri" miri

printf '\n==> summary\n'
printf '%s\n' "${summary[@]}"
exit "$failed"
