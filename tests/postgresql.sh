#!/bin/sh
# Look for PostgreSQL's server to test with; install Debian's where that is possible; otherwise say what is skipped.
# Only its programs are wanted: no cluster of the system's is made or started.
for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
  [ -x "$folder/initdb" ] && exit 0
done
command -v initdb >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1; then
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  if [ -z "$as_root" ] || $as_root true 2>/dev/null; then
    echo "Installing PostgreSQL's programs for the tests (once; no server is started) ..."
    made=""
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
      made=yes
      $as_root mkdir -p /etc/postgresql-common
      echo "create_main_cluster = false" | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    { $as_root apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Options::=--force-confold postgresql; } >/dev/null 2>&1 && exit 0
    [ -z "$made" ] || $as_root rm -f /etc/postgresql-common/createcluster.conf
  fi
fi
echo "No PostgreSQL here, and none could be installed: its tests will be skipped."
exit 0
