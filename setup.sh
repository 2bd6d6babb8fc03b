#!/bin/sh
# Installs what the testbed needs: Debian packages (as root, or through sudo) and a virtual
# environment in .venv. Does nothing, quickly, where all is there. Called by `make setup`.
set -eu
cd "$(dirname "$0")"
export LC_ALL=C

wanted=$(sed -e 's/[[:space:]]*#.*//' -e '/^$/d' debian-packages.txt)
missing=
for package in $wanted; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
fi
# The guest image is assembled from packages, so their lists must be there as well.
if [ -n "$missing" ] || ! apt-cache policy busybox-static | grep -q 'Candidate: [0-9]'; then
    if [ -n "$as_root" ] && ! command -v sudo >/dev/null; then
        echo "setup: needs root for: apt-get update && apt-get install$missing" >&2
        exit 4
    fi
    $as_root apt-get update -q
    # shellcheck disable=SC2086  # a list of words
    [ -z "$missing" ] || DEBIAN_FRONTEND=noninteractive \
        $as_root apt-get install -y -q --no-install-recommends $missing
fi

if ! cmp -s requirements.lock .venv/installed.lock; then
    # Debian's own interpreter, by path: python3-venv and python3-dev belong to it, and another one that
    # comes first in PATH may lie where an ordinary user can not run it.
    /usr/bin/python3 -m venv --clear .venv
    .venv/bin/pip install -q --disable-pip-version-check -r requirements.lock
    .venv/bin/pip install -q --disable-pip-version-check --no-deps -e .
    cp requirements.lock .venv/installed.lock
fi
