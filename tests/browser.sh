#!/bin/sh
# Look for a browser to drive; install Debian's where that is possible; otherwise say what is skipped.
# Then Lighthouse, which measures pages in it, from npm.
environment="${VIRTUAL_ENV:-$(dirname "$0")/../.venv}"

# Chromium's headless shell is preferred: the engine without the windows takes a third of the processor time.
install_browser() {
  [ -n "$SIGNET_BROWSER" ] && return 0
  command -v chromium-headless-shell >/dev/null 2>&1 && return 0
  found=""
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null 2>&1 && found=yes
  done
  command -v apt-get >/dev/null 2>&1 || { [ -n "$found" ]; return; }
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  # Beside another browser it is installed only where Debian's lists name it already.
  if [ -z "$found" ] || apt-cache show chromium-headless-shell >/dev/null 2>&1; then
    if [ -z "$as_root" ] || $as_root true 2>/dev/null; then
      echo "Installing Chromium for the browser journeys (once) ..."
      get="timeout 600 apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=30"
      {
        $as_root $get update -qq
        $as_root $get install -y -qq --no-install-recommends --no-remove chromium-headless-shell && return 0
        [ -n "$found" ] || $as_root $get install -y -qq --no-install-recommends chromium && return 0
      } >/dev/null 2>&1
    fi
  fi
  [ -n "$found" ]
}

install_browser || echo "No Chromium or Chrome here, and none could be installed: the browser journeys will be skipped."
if [ ! -f "$environment/pages/node_modules/lighthouse/cli/index.js" ]; then
  echo "Installing Lighthouse for the tests of pages (once) ..."
  { command -v npm && npm install --no-audit --no-fund --omit=optional --ignore-scripts --prefix "$environment/pages" \
    lighthouse@12.8.2; } >/dev/null 2>&1 ||
    echo "No Lighthouse here, and it could not be installed: the tests with it will be skipped."
fi
exit 0
