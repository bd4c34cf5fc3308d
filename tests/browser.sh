#!/bin/sh
# Look for a browser to drive; install Debian's Chromium where that is possible; otherwise say what is skipped.
for name in chromium chromium-browser google-chrome google-chrome-stable; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done
[ -n "$SIGNET_BROWSER" ] && exit 0
if command -v apt-get >/dev/null 2>&1; then
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  if [ -z "$as_root" ] || $as_root true 2>/dev/null; then
    echo "Installing Chromium for the browser journeys (once) ..."
    { $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 && exit 0
  fi
fi
echo "No Chromium or Chrome here, and none could be installed: the browser journeys will be skipped."
exit 0
