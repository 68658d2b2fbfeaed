#!/usr/bin/env bash
# Builds Starling and runs its main job on this machine: a tracker, two seeders and a fetcher, each a
# process of its own, over a real folder. Ends with the fetched copy compared byte by byte.
#
#   tests/demo.sh [FOLDER]      FOLDER defaults to the Rust toolchain's own libraries
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-$(rustc --print sysroot)/lib}
[ -d "$folder" ] || { echo "error: no such folder: $folder" >&2; exit 2; }
folder=$(cd "$folder" && pwd)

echo "== building (release)" >&2
cargo build --release --locked -p tracker -p peer
bin=${CARGO_TARGET_DIR:-target}/release

work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# Waits until a line that matches $2 stands in file $1, and prints it; gives up when process $3 ends.
await() {
    until grep -m1 -E "$2" "$1" 2>/dev/null; do
        kill -0 "$3" 2>/dev/null || { cat "$1" >&2; exit 1; }
        read -r -t 0.05 <> <(:) || true
    done
}

echo "== tracker" >&2
"$bin/tracker" --listen 127.0.0.1:0 --data-dir "$work/tracker" 2>"$work/tracker.log" &
pids+=($!)
line=$(await "$work/tracker.log" 'listening on 127\.0\.0\.1:[0-9]+' $!)
address=$(grep -oE '127\.0\.0\.1:[0-9]+' <<<"$line" | head -n 1)
echo "$line" >&2

for number in 1 2; do
    echo "== seeder $number" >&2
    "$bin/peer" seed "$folder" --name demo --tracker "$address" --listen 127.0.0.1:0 \
        --state-dir "$work/seeder$number" --progress lines 2>"$work/seeder$number.log" &
    pids+=($!)
    await "$work/seeder$number.log" 'published demo@' $! >&2
done

echo "== fetcher" >&2
place=$("$bin/peer" fetch demo --tracker "$address" --listen 127.0.0.1:0 --output "$work/here" \
    --state-dir "$work/fetcher")

echo "== comparing $place with $folder" >&2
# Files and their bytes; symbolic links are not part of an object.
(cd "$folder" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$work/expected"
(cd "$place" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$work/got"
cmp "$work/expected" "$work/got"
echo "identical: $(wc -l <"$work/got") files, $(du -sh "$place" | cut -f1)"
