#!/usr/bin/env bash
# Counts the locked instructions (atomic read-modify-writes) in the machine code of the fast paths:
# none in a push into a lane, and in a keyed push no more than in a push under a mutex.
#
# What is called and not inlined does not count: those are the slow paths, all marked as such.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ $(rustc -vV | sed -n 's/^host: //p') != x86_64-* ]]; then
    echo "only the machine code of x86-64 is understood: nothing was checked"
    exit 77
fi

target=${CARGO_TARGET_DIR:-target}/probe
rm -f "$target"/release/deps/probe-*.s
# cargo would take it that nothing has to be made again.
touch benches/probe/src/lib.rs
cargo rustc --locked --quiet -p probe --release --lib --target-dir "$target" -- \
    --emit asm -C codegen-units=1 -C debuginfo=0
code=$(cat "$target"/release/deps/probe-*.s)

# locked FUNCTION: how many there are. An exchange with memory is locked without saying so.
locked() {
    awk -v label="$1:" '
        $1 == label { inside = found = 1 }
        inside && ($1 == "lock" || $1 ~ /^lock;/ || ($1 ~ /^xchg/ && /\(/)) { n++ }
        inside && $1 == ".cfi_endproc" { exit }
        END { if (!found) exit 1; print n + 0 }
    ' <<<"$code" || { echo "there is no $1" >&2; return 1; }
}

status=0
# at_most N FUNCTION
at_most() {
    local n
    n=$(locked "$2")
    echo "$2: $n locked instructions (at most $1)"
    ((n <= $1)) || status=1
}

mutex=$(locked probe_mutex_push)
((mutex > 0)) || { echo "a mutex without locked instructions: this counts wrongly"; exit 1; }
at_most 0 probe_writer_push
at_most 0 probe_queue_push
at_most "$mutex" probe_push_keyed
exit "$status"
