#!/usr/bin/env bash
# Installs what the tests need, and runs all of them. A new machine needs Rust (with its default
# components) and Debian; everything else comes from here.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v python3 >/dev/null || missing+=(python3)
command -v diff >/dev/null || missing+=(diffutils)
command -v tshark >/dev/null || missing+=(tshark)
if [ ${#missing[@]} -gt 0 ]; then
    sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
fi

cargo test --workspace --locked

# Random swarms in the simulator: every mark of the cores and every kind of trouble must be met, and every
# planted bug must be found. The seeds are fixed; `cargo sim` without --from draws its own.
cargo sim 1500 --from 0 --coverage
cargo sim --canaries --starts 1 --from 1
