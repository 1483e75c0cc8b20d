#!/usr/bin/env bash
# Checks the library, without its tests, with the oldest Rust that Cargo.toml promises.
#
# Takes that Rust from rustup if it is installed there. Else, where apt has the very version, it
# unpacks Debian's own build of it into the target directory: nothing is installed, and no root
# is needed. Exit status 77: neither was to be had, so nothing was checked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}/msrv
msrv=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
check=(check --locked -p swaplane --lib --target-dir "$target/check")
export RUSTFLAGS="-D warnings"

if rustup run "$msrv" cargo --version 2>/dev/null; then
    exec rustup run "$msrv" cargo "${check[@]}"
fi

version=$(apt-cache madison rustc-web 2>/dev/null |
    awk -v msrv="$msrv." 'index($3, msrv) == 1 && !found { found = $3 } END { print found }') ||
    true
if [[ -z $version ]]; then
    echo "Rust $msrv is neither in rustup (rustup toolchain install $msrv) nor in apt"
    exit 77
fi

root=$(mkdir -p "$target" && cd "$target" && pwd)/debian-$version
if [[ ! -e $root/complete ]]; then
    rm -rf "$root"
    mkdir -p "$root"
    # A simulated installation names the packages that this machine lacks.
    simulation=$(apt-get --simulate --no-install-recommends install \
        {rustc-web,cargo-web,libstd-rust-web-dev,"libstd-rust-web-$msrv"}="$version") ||
        exit 77
    mapfile -t packages < <(awk '$1 == "Inst" { sub(/^\(/, "", $3); print $2 "=" $3 }' \
        <<<"$simulation")
    if ! (cd "$root" && apt-get --quiet --quiet download "${packages[@]}"); then
        echo "apt knows Rust $version, but cannot download it"
        exit 77
    fi
    for package in "$root"/*.deb; do
        dpkg-deb --extract "$package" "$root"
        rm "$package"
    done
    touch "$root/complete"
fi

# Before rustup's own directory in PATH: a cargo calls the first rustc that it finds.
export PATH=$root/usr/bin:$PATH
LD_LIBRARY_PATH=$(find "$root/lib" "$root/usr/lib" -maxdepth 1 -type d -name '*-linux-gnu*' |
    paste --serial --delimiters=:)
export LD_LIBRARY_PATH
unset RUSTUP_TOOLCHAIN RUSTC RUSTC_WRAPPER CARGO
cargo --version
rustc --version
cargo "${check[@]}"
