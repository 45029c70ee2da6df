#!/bin/sh
# Makes this machine ready for one of the make targets: scripts/setup.sh [--dry-run]
# build|demo|test|bench|check
#
# On Debian and its relatives it installs the packages that are missing, as root or through sudo;
# anywhere else it says what is missing and what the packages are called. It asks no questions and
# reads no input. What is needed, and how to see whether it is there, stands in packages.txt beside
# this file.
#
# Exit status: 0 everything needed is there (things that can be done without may be missing), 1 not.
set -u
here=$(cd "$(dirname "$0")" && pwd)
table=$here/packages.txt
tab=$(printf '\t')

dry_run=no
if [ "${1:-}" = --dry-run ]; then
    dry_run=yes
    shift
fi
what=${1:-build}
case $what in
build | demo | test | bench | check) ;;
*)
    echo "usage: scripts/setup.sh [--dry-run] build|demo|test|bench|check" >&2
    exit 2
    ;;
esac

say() {
    printf 'setup: %s\n' "$*"
}

# ---- What is there -------------------------------------------------------------------------------

# has command NAME, or: has compiles CC HEADER FLAGS...
has() {
    kind=$1
    shift
    if [ "$kind" = command ]; then
        command -v "$1" >/dev/null 2>&1
        return
    fi
    compiler=$1
    header=$2
    shift 2
    command -v "$compiler" >/dev/null 2>&1 || return 1
    case $compiler in
    *++*) language=c++ ;;
    *) language=c ;;
    esac
    printf '#include <%s>\nint main(void) { return 0; }\n' "$header" |
        "$compiler" -x "$language" - -o "$probe_output" "$@" >/dev/null 2>&1
}

# The rows of the table that matter here, without padding, fields separated by tabs.
rows() {
    awk -F'|' -v what="$what" -v cpu="$(uname -m)" '
        /^#/ || NF < 10 { next }
        {
            for (i = 1; i <= NF; i++) { gsub(/^[ \t]+|[ \t]+$/, "", $i) }
            if ($2 != "all" && index("," $2 ",", "," what ",") == 0) { next }
            if ($4 != "any" && $4 != cpu) { next }
            line = $1
            for (i = 2; i <= NF; i++) { line = line "\t" $i }
            print line
        }' "$table"
}

# Those of them that are missing.
missing() {
    rows | while IFS=$tab read -r name for must cpu probe packages; do
        # shellcheck disable=SC2086 # A probe is several words.
        has $probe || printf '%s\t%s\t%s\t%s\t%s\t%s\n' \
            "$name" "$for" "$must" "$cpu" "$probe" "$packages"
    done
}

# names LIST: the first column as one comma-separated line.
names() {
    printf '%s\n' "$1" | cut -f1 | awk '{ all = all (NR > 1 ? ", " : "") $0 } END { print all }'
}

# packages LIST COLUMN: the packages of one system, each once, on one line.
packages() {
    printf '%s\n' "$1" | cut -f"$2" | awk '
        $0 != "-" && !seen[$0]++ { all = all " " $0 }
        END { print substr(all, 2) }'
}

# ---- Installing ----------------------------------------------------------------------------------

clang_version() {
    if command -v clang >/dev/null 2>&1; then
        clang -dumpversion | cut -d. -f1
    else
        apt-cache depends clang 2>/dev/null |
            sed -n 's/.*Depends: clang-\([0-9][0-9]*\)$/\1/p' | head -n 1
    fi
}

with_versions() {
    case $1 in
    *@CLANG@*) printf '%s\n' "$1" | sed "s/@CLANG@/$(clang_version)/g" ;;
    *) printf '%s\n' "$1" ;;
    esac
}

# How to become root: "", "sudo -n", or nothing possible.
if [ "$(id -u)" = 0 ]; then
    as_root=""
    may_install=yes
elif command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1 </dev/null; then
    as_root="sudo -n"
    may_install=yes
else
    as_root=""
    may_install=no
fi

apt() {
    say "$as_root${as_root:+ }apt-get $*"
    # shellcheck disable=SC2086 # as_root is two words or none.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 "$@" </dev/null >"$log" 2>&1
}

# What must be there comes first and together; then the rest one by one, since none of it may stop
# the others.
install() {
    apt update || say "apt-get update failed; trying with the lists that are here"
    must=$(packages "$(printf '%s\n' "$1" | awk -F"$tab" '$3 == "must"')" 6)
    if [ -n "$must" ]; then
        # shellcheck disable=SC2046,SC2086 # Several packages.
        apt install -y --no-install-recommends $(with_versions "$must") || {
            say "apt-get install failed:"
            tail -n 15 "$log"
        }
    fi
    for package in $(packages "$(printf '%s\n' "$1" | awk -F"$tab" '$3 == "may"')" 6); do
        apt install -y --no-install-recommends "$package" ||
            say "$package could not be installed; going on without it"
    done
}

explain_by_hand() {
    list=$(packages "$1" 6 | sed 's/@CLANG@/<version of clang>/g')
    say "to install by hand, as root:"
    say "  Debian, Ubuntu   apt-get install $list"
    say "  Fedora           dnf install $(packages "$1" 7)"
    say "  Arch             pacman -S $(packages "$1" 8)"
    say "  Alpine           apk add $(packages "$1" 9)"
    say "  macOS, Homebrew  brew install $(packages "$1" 10)"
}

# ---- The work ------------------------------------------------------------------------------------

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
probe_output=$scratch/probe
log=$scratch/log

absent=$(missing)
if [ -z "$absent" ]; then
    say "everything for $what is here"
    exit 0
fi
say "missing for $what: $(names "$absent")"
if [ "$dry_run" = yes ]; then
    explain_by_hand "$absent"
    exit 1
fi
if [ "$may_install" = yes ] && command -v apt-get >/dev/null 2>&1; then
    install "$absent"
    absent=$(missing)
elif command -v apt-get >/dev/null 2>&1; then
    say "not root, and sudo is not here or asks for a password: nothing is installed"
else
    say "this system has no apt-get: nothing is installed"
fi
if [ -z "$absent" ]; then
    say "everything for $what is here now"
    exit 0
fi
explain_by_hand "$absent"
if printf '%s\n' "$absent" | cut -f3 | grep -q must; then
    needed=$(printf '%s\n' "$absent" | awk -F"$tab" '$3 == "must"')
    say "stopping: without these $what cannot work: $(names "$needed")"
    exit 1
fi
say "going on without: $(names "$absent"); what needs them is skipped"
