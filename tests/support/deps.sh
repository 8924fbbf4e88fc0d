#!/bin/sh
# deps.sh have|install PACKAGE...: are the Debian packages there; install what is missing and say so.
set -eu
verb=$1
shift
missing=""
for package in "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
[ "$verb" = install ] || { echo "missing:$missing" >&2; exit 1; }
as_root=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "make deps: as root, run: apt-get install$missing" >&2; exit 1; }
  as_root=sudo
fi
command -v apt-get >/dev/null || { echo "make deps: this is not Debian; lore needs what these packages hold:$missing" >&2; exit 1; }
echo "make deps: installing$missing" >&2
# Some packages bring another Lua, which takes over the command `lua`: whoever had one keeps it.
lua=$(readlink /etc/alternatives/lua-interpreter 2>/dev/null || true)
luac=$(readlink /etc/alternatives/lua-compiler 2>/dev/null || true)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quiet() { "$@" >"$log" 2>&1 || { cat "$log" >&2; echo "make deps: '$*' failed" >&2; exit 1; }; }
quiet $as_root apt-get update -qq
# shellcheck disable=SC2086
quiet $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
[ -z "$lua" ] || quiet $as_root update-alternatives --set lua-interpreter "$lua"
[ -z "$luac" ] || quiet $as_root update-alternatives --set lua-compiler "$luac"
