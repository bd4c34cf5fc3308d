#!/bin/sh
# Look for a browser to drive; install Debian's where that is possible; otherwise say what is skipped.
# Chromium's headless shell is preferred: the engine without the windows takes a third of the processor time.
[ -n "$SIGNET_BROWSER" ] && exit 0
command -v chromium-headless-shell >/dev/null 2>&1 && exit 0
found=""
for name in chromium chromium-browser google-chrome google-chrome-stable; do
  command -v "$name" >/dev/null 2>&1 && found=yes
done
if command -v apt-get >/dev/null 2>&1; then
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  # Beside another browser it is installed only where Debian's lists name it already.
  if [ -z "$found" ] || apt-cache show chromium-headless-shell >/dev/null 2>&1; then
    if [ -z "$as_root" ] || $as_root true 2>/dev/null; then
      echo "Installing Chromium for the browser journeys (once) ..."
      get="timeout 600 apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=30"
      {
        $as_root $get update -qq
        $as_root $get install -y -qq --no-install-recommends --no-remove chromium-headless-shell && exit 0
        [ -n "$found" ] || { $as_root $get install -y -qq --no-install-recommends chromium && exit 0; }
      } >/dev/null 2>&1
    fi
  fi
fi
[ -n "$found" ] || echo "No Chromium or Chrome here, and none could be installed: the browser journeys will be skipped."
exit 0
