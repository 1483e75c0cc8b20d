#!/usr/bin/env bash
# Kills the mutants that are patches: loom_tests/mutants/*.patch, each a fault in the code that holds
# the protocols. A patch names the model that must notice it, in a line `# Model: file::test`.
#
#     ci/mutants.sh            applies each patch to a copy, builds it, and runs its model
#     ci/mutants.sh --check    only checks that each patch applies and names a model that is there
#     ci/mutants.sh NAME...    the same as without arguments, for the patches of these names
#
# Exit status 1 if a patch does not apply or build, or if its model does not notice it. Mutants that
# are a word in the code (`order`, `broken` ...) are killed by the models themselves.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD
target=${CARGO_TARGET_DIR:-target}/mutants
mkdir -p "$target/copy"
target=$(cd "$target" && pwd)
# One copy for all, at one path, so that what does not change is built once.
copy=$target/copy
export RUSTFLAGS="--cfg swaplane_loom"
models=(test --locked --profile loom --lib --target-dir "$target")

# model PATCH: the model that the patch names.
model() {
    sed -n 's/^# Model: //p' "$1"
}

# check PATCH: whether it applies, and its model is there.
check() {
    local model file test
    model=$(model "$1")
    file=${model%%::*} test=${model##*::}
    if ! git apply --check "$1"; then
        echo "$1 does not apply: has the code around it changed?"
        return 1
    fi
    if ! grep -q "fn $test()" "loom_tests/$file.rs"; then
        echo "$1 names the model '$model', which is not there"
        return 1
    fi
}

# kill PATCH: whether its model notices it.
kill_mutant() {
    local name status log
    name=$(basename "$1" .patch)
    log=$target/$name.log
    rm -rf "$copy"/*
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy" --
    patch --quiet --strip 1 --directory "$copy" <"$1"
    if ! (cd "$copy" && cargo "${models[@]}" --no-run) >"$log" 2>&1; then
        echo "NOT BUILT  $name (see $log)"
        return 1
    fi
    status=0
    (cd "$copy" && cargo "${models[@]}" -- --exact "loom_tests::$(model "$1")") >"$log" 2>&1 ||
        status=$?
    # A model that notices fails as a test. Anything else, as a deadlock, proves nothing.
    if ((status != 0)) && grep -q '^test result: FAILED. 0 passed; 1 failed' "$log"; then
        echo "killed     $name"
    else
        echo "SURVIVED   $name, which $(model "$1") must notice (see $log)"
        return 1
    fi
}

patches=(loom_tests/mutants/*.patch)
only_check=
if [[ ${1-} == --check ]]; then
    only_check=yes
elif (($# > 0)); then
    patches=("${@/#/loom_tests/mutants/}")
    patches=("${patches[@]/%/.patch}")
fi

status=0
for patch in "${patches[@]}"; do
    check "$patch" || status=1
done
if [[ -n $only_check ]]; then
    ((status == 0)) && echo "${#patches[@]} patches apply, and name models that are there"
    exit "$status"
fi
((status == 0)) || exit "$status"

for patch in "${patches[@]}"; do
    kill_mutant "$root/$patch" || status=1
done
exit "$status"
