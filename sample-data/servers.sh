#!/bin/sh
# Install the servers and the browser that some tests need, on Debian as root. Elsewhere those tests are skipped with the reason.
set -u
packages="orthanc orthanc-dicomweb postgresql chromium"
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] && ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 &&
    command -v chromium > /dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
[ "$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get update -qq &&
    apt-get install --yes -qq --no-install-recommends $packages > /dev/null && exit 0
echo "Not installed: $packages. The tests that need them are skipped. As root, run: apt-get install $packages" >&2
