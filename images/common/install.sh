# Installs the packages that lie in /debs, all at once: apt finds the order
# in which they have to be unpacked and configured. Nothing is fetched.
set -e
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
export LC_ALL=C

# A half-written image is thrown away whole, so dpkg need not wait for the
# disk after every file.
apt-get install --yes --no-install-recommends \
    -o DPkg::Options::=--force-unsafe-io /debs/*.deb >/dev/null

# Not part of the result: differs from build to build, or is a cache.
rm -rf /var/log/dpkg.log /var/log/alternatives.log /var/log/apt/* \
    /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old \
    /var/lib/dpkg/*-old /var/lib/apt/lists/* /var/lib/apt/extended_states
