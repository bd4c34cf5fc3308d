#!/bin/sh
# Look for the servers that Signet is tried against (Postfix, Haraka, Dovecot, Redis, nginx, oidc-provider, oauth2-mock-server),
# and for SpamAssassin, which scores the texts that Signet ships;
# install what is missing where that is possible; otherwise say what is skipped. They are installed without being started.
environment="${VIRTUAL_ENV:-$(dirname "$0")/../.venv}"
PATH="$PATH:/usr/sbin:/sbin"

# Install packages of Debian's, without a service being started for them.
install_packages() {
  command -v apt-get >/dev/null 2>&1 || return 1
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  if [ -n "$as_root" ]; then $as_root true 2>/dev/null || return 1; fi
  echo "Installing $1 for the tests against real servers (once) ..."
  # Debian asks this file whether a freshly installed service may start; none may.
  policy=/usr/sbin/policy-rc.d
  ours=""
  if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null && $as_root chmod 755 "$policy" || return 1
  fi
  {
    $as_root apt-get update -qq &&
      $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  } >/dev/null 2>&1
  status=$?
  [ -z "$ours" ] || $as_root rm -f "$policy"
  return $status
}

# Install packages of npm's beside the tests, without running their scripts.
install_modules() {
  command -v npm >/dev/null 2>&1 || return 1
  echo "Installing $1 for the tests against real servers (once) ..."
  npm install --no-audit --no-fund --omit=optional --ignore-scripts --prefix "$environment/interop" "$@" >/dev/null 2>&1
}

if ! command -v postfix >/dev/null 2>&1 || ! command -v saslpasswd2 >/dev/null 2>&1; then
  install_packages postfix libsasl2-modules libsasl2-modules-db sasl2-bin ||
    echo "No Postfix here, and none could be installed: the tests against it will be skipped."
fi
if [ -z "$SIGNET_HARAKA" ] && [ ! -f "$environment/interop/node_modules/Haraka/bin/haraka" ]; then
  install_modules Haraka@3.3.4 || echo "No Haraka here, and none could be installed: the tests against it will be skipped."
fi
if [ ! -d "$environment/interop/node_modules/oidc-provider" ] || [ ! -d "$environment/interop/node_modules/oauth2-mock-server" ]; then
  install_modules oidc-provider@9.13.3 oauth2-mock-server@8.2.3 ||
    echo "No oidc-provider and oauth2-mock-server here, and they could not be installed: the tests with them will be skipped."
fi
if [ ! -x /usr/lib/dovecot/submission ] || [ ! -x /usr/lib/dovecot/imap ]; then
  install_packages dovecot-submissiond dovecot-imapd ||
    echo "No Dovecot here, and none could be installed: the tests against it will be skipped."
fi
if ! command -v redis-server >/dev/null 2>&1; then
  install_packages redis-server || echo "No Redis here, and none could be installed: the tests with it will be skipped."
fi
if ! command -v nginx >/dev/null 2>&1; then
  install_packages nginx || echo "No nginx here, and none could be installed: the tests with it will be skipped."
fi
if ! command -v spamassassin >/dev/null 2>&1; then
  install_packages spamassassin ||
    echo "No SpamAssassin here, and none could be installed: the test that scores the shipped texts will be skipped."
fi
if ! "$environment/bin/python" -c "import redis" 2>/dev/null; then
  "$environment/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    -r "$(dirname "$0")/../requirements-redis.txt" ||
    echo "The Python package redis could not be installed: the tests with it will be skipped."
fi
exit 0
