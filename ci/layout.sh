#!/usr/bin/env bash
# Checks that the layout of src/ is what it says it is: imports point downwards, each dependency and
# `unsafe` stay in their rooms, comments fit 100 columns, files are short, words are the field's.
#
# Exit status 1 with a line for each violation.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C.UTF-8

# The architecture, bottom up: a file may import from its own level and from those above its line
# here. The longest prefix of a module's path counts.
readonly LEVELS='
sync
panic hash block_on error
batch stats
sink
retry
settings
capacity
source
queue::barrier queue::lane queue::fallback map::hashed map::slot map::counts map::entry
queue::threads queue::registry map::shards map::versions
map::partition
queue::store map::store
queue::collect map::collect
flusher
lifecycle
queue map
builder
guide lib
'

# Files of more than 400 lines, each with its reason.
readonly LONG_FILES='
src/flusher.rs           rebuilt with the flush side
src/flusher/deliver.rs   rebuilt with the flush side
'

# Words that say nothing to a reader who is new here; what to say instead stands behind them.
readonly WORDS='
gate:capacity tally:counts foreign:user_value bury:reap newborn:unadopted grave:track
courier:delivery_context errand:call blur:overstatement doublings:batches_log2
thrifty:trim_on_reset
'
# The flush side is rebuilt before long: until then its words are its own.
readonly FLUSH_SIDE='^src/(flusher|batch/lease)'

status=0
complain() {
    echo "$1"
    status=1
}

# code FILE: its lines of code, with their numbers, without comments and unit tests.
code() {
    awk '/^#\[cfg\((all\()?test/ { pending = 1; held = FILENAME ":" FNR ": " $0; next }
         pending && /^mod tests/ { exit }
         pending { print held; pending = 0 }
         !/^ *\/\// { print FILENAME ":" FNR ": " $0 }' "$1"
}

# module FILE: its path, as crate::path.
module() {
    local path=${1#src/}
    path=${path%.rs}
    echo "${path//\//::}"
}

# level MODULE: the number of the line in LEVELS, by the longest prefix.
level() {
    local path=$1
    while true; do
        if [[ -n ${levels[$path]-} ]]; then
            echo "${levels[$path]}"
            return
        fi
        [[ $path == *::* ]] || break
        path=${path%::*}
    done
    echo "no level for the module $1" >&2
    echo 99
}

declare -A levels
n=0
while read -r line; do
    [[ -n $line ]] || continue
    n=$((n + 1))
    for module in $line; do levels[$module]=$n; done
done <<<"$LEVELS"

mapfile -t sources < <(git ls-files --cached --others --exclude-standard 'src/*.rs')

# Imports point downwards.
for file in "${sources[@]}"; do
    here=$(module "$file")
    own=$(level "$here")
    parent=${here%::*}
    [[ $here == *::* ]] || parent=
    while IFS= read -r path; do
        path=${path#crate::}
        [[ $path != loom_tests* ]] || continue
        that=$(level "$path")
        if ((that > own)); then
            complain "$file imports crate::$path, which lies above it"
        fi
    done < <(code "$file" | sed "s/: use super::/: use crate::${parent:+$parent::}/" |
        grep -oE 'crate::[a-z_]+(::[a-z_]+)*' | sort -u)
done

# only_in WORD FILES: the word stands in no code but in the files that match.
only_in() {
    local hits
    hits=$(for file in "${sources[@]}"; do
        [[ $file =~ $2 ]] || code "$file" | grep -E "$1" || true
    done)
    [[ -z $hits ]] || complain "$1 stands outside of $2:
$hits"
}
only_in '\bstd::sync\b' '^src/sync'
only_in '\bloom::(sync|cell|thread|lazy_static|model|future)' '^src/sync/loom\.rs'
only_in '\barc_swap\b' '^src/(queue/lane/active|settings)\.rs'
only_in '\btokio\b' '^src/(flusher|sync/|builder|block_on|sink/blocking)'
only_in '\b(dashmap|hashbrown)\b' '^src/map/shards\.rs'
only_in '\bunsafe\b' '^src/(queue/|sync/loom\.rs)'

# Comments fit 100 columns.
long=$(git ls-files --cached --others --exclude-standard '*.rs' | xargs grep -nP '^(?=.{101}) *//' || true)
[[ -z $long ]] || complain "comment lines of more than 100 columns:
$long"

# Files are short.
for file in "${sources[@]}"; do
    lines=$(wc -l <"$file")
    if ((lines > 400)) && ! grep -qE "^$file +[^ ]" <<<"$LONG_FILES"; then
        complain "$file has $lines lines: split it, or name it in $0 with the reason"
    fi
done

# Words are the field's.
for pair in $WORDS; do
    word=${pair%%:*}
    for file in "${sources[@]}" loom_tests/*.rs; do
        [[ $file =~ $FLUSH_SIDE ]] && continue
        if hit=$(grep -nwi "$word" "$file"); then
            complain "$file: say ${pair#*:} for $word: $hit"
        fi
    done
done

((status == 0)) && echo "${#sources[@]} files, $n levels: the layout is as it says"
exit "$status"
