#!/bin/sh
# Install the servers and the browser that some tests talk to, on Debian as root; elsewhere those tests are skipped, and say why.
set -u
packages="orthanc orthanc-dicomweb postgresql chromium"
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] && ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 &&
    command -v chromium > /dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
[ "$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get update -qq &&
    apt-get install --yes -qq --no-install-recommends $packages > /dev/null && exit 0
echo "Without $packages (as root: apt-get install $packages) the tests that talk to them are skipped." >&2
