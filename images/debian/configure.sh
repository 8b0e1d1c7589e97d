# The second half: dpkg, now there, finishes what unpack.sh began.
set -e
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
export LC_ALL=C

# The scripts that run before a package is unpacked. base-passwd's makes
# /etc/passwd, so it goes first.
for script in /var/lib/dpkg/info/base-passwd.preinst \
    /var/lib/dpkg/info/*.preinst; do
    name=${script##*/}
    name=${name%.preinst}
    DPKG_MAINTSCRIPT_NAME=preinst \
        DPKG_MAINTSCRIPT_PACKAGE=${name%:*} "$script" install
done
# All depend on all at this point; dpkg would see circles.
dpkg --configure -a --force-depends --force-unsafe-io >/dev/null
[ -z "$(dpkg --audit)" ]

cp /sources.list /etc/apt/sources.list

# Not part of the result: differs from build to build, or is a cache.
rm -f /var/log/dpkg.log /var/log/alternatives.log /var/log/apt/* \
    /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old \
    /var/lib/dpkg/*-old /etc/machine-id /etc/hostname /etc/resolv.conf \
    2>/dev/null || true
: >/etc/machine-id
