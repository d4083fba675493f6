#!/bin/sh
# Check what `make` needs and name what is missing with the command that installs it.
# Prints the Python to use on stdout; everything for people goes to stderr. Usage: prerequisites.sh [python] [rust]
set -u
missing=0

say() { printf '%s\n' "$*" >&2; }

lack() {
    say "missing: $1"
    say "  install it with:  $2"
    missing=1
}

by_package_manager() { # names for: apt, dnf, pacman, brew
    if command -v apt-get >/dev/null 2>&1; then echo "sudo apt-get install -y $1"
    elif command -v dnf >/dev/null 2>&1; then echo "sudo dnf install -y $2"
    elif command -v pacman >/dev/null 2>&1; then echo "sudo pacman -S --needed $3"
    elif command -v brew >/dev/null 2>&1; then echo "brew install $4"
    else echo "your package manager: $1"
    fi
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in ${RAVEN_PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
        if command -v "$candidate" >/dev/null 2>&1 && is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

check_python() {
    python=$(find_python)
    if [ -z "$python" ]; then
        old=$(python3 --version 2>/dev/null || echo "no python3")
        lack "Python 3.11 or newer (found: $old)" "$(by_package_manager 'python3 python3-venv' python3 python python@3.13)"
        say "  (a newer Python beside the system's: set RAVEN_PYTHON=/path/to/python3.11)"
    elif ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        lack "the venv module of $python" "$(by_package_manager "python$version-venv" python3 python python@3.13)"
    else
        echo "$python"
    fi
}

check_rust() {
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    rustup='curl --proto =https --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . "$HOME/.cargo/env"'
    if ! command -v cargo >/dev/null 2>&1 || ! command -v rustc >/dev/null 2>&1; then
        lack "a Rust toolchain (cargo, rustc $wanted or newer)" "$rustup"
    else
        have=$(rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9.]*\).*/\1/p')
        oldest=$(printf '%s\n%s\n' "$wanted" "${have:-0}" | sort -V | head -n 1)
        [ "$oldest" = "$wanted" ] || lack "Rust $wanted or newer (found: ${have:-none that works})" "rustup update stable   # without rustup: $rustup"
    fi
    command -v cc >/dev/null 2>&1 || lack "a C compiler, which Rust links with (cc)" "$(by_package_manager build-essential gcc base-devel gcc)"
}

[ $# -gt 0 ] || set -- python rust
for what in "$@"; do
    case $what in
        python) check_python ;;
        rust) check_rust ;;
    esac
done
[ "$missing" -eq 0 ] || say "Then run make again; nothing else has to be installed by hand."
exit "$missing"
