# Makes a Debian root file system out of packages, with nothing but BusyBox.
#
# What dpkg would do, in two halves. This one unpacks every package and
# enters it into dpkg's database as "unpacked". The second half runs inside
# the result, where dpkg itself finishes the work: configure.sh.
set -e
PATH=/lent/bin
info=/var/lib/dpkg/info

# Merged /usr: /bin is /usr/bin. The links have to be there before the first
# package that still calls it /bin.
mkdir -p /usr/bin /usr/sbin /usr/lib /etc/dpkg/dpkg.cfg.d $info \
    /var/lib/dpkg/updates
for dir in bin sbin lib; do
    ln -s usr/$dir /$dir
done
case $(uname -m) in
x86_64)
    mkdir -p /usr/lib64
    ln -s usr/lib64 /lib64
    ;;
esac

# As in Debian's own slim images: no manuals, no translations. The licences
# stay. Later installations follow the same file.
cat >/etc/dpkg/dpkg.cfg.d/slim <<'END'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/groff/*
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/linda/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
END

: >/var/lib/dpkg/available
: >/var/lib/dpkg/status
echo 1 >$info/format

for deb in /debs/*.deb; do
    dpkg-deb -x "$deb" /
    rm -rf /control
    dpkg-deb -e "$deb" /control
    name=$(sed -n 's/^Package: //p' /control/control)
    # A package that may be installed for several processors at once has its
    # processor in the names of its files.
    if grep -q '^Multi-Arch: same' /control/control; then
        name=$name:$(sed -n 's/^Architecture: //p' /control/control)
    fi
    for file in /control/*; do
        kind=${file##*/}
        [ "$kind" = control ] || mv "$file" "$info/$name.$kind"
    done
    dpkg-deb -c "$deb" | awk '{print $6}' |
        sed 's,^\.,,; s,/$,,; s,^$,/.,' >"$info/$name.list"
    {
        sed '/^$/d; 1a Status: install ok unpacked' /control/control
        if [ -f "$info/$name.conffiles" ]; then
            echo Conffiles:
            while read -r file; do
                [ ! -f "$file" ] ||
                    md5sum "$file" | sed 's/^\([^ ]*\) *\(.*\)/ \2 \1/'
            done <"$info/$name.conffiles"
        fi
        echo
    } >>/var/lib/dpkg/status
done

rm -rf /control /usr/share/man /usr/share/locale /usr/share/info \
    /usr/share/groff /usr/share/lintian
find /usr/share/doc \( -type f -o -type l \) ! -name copyright \
    -exec rm {} +
find /usr/share/doc -depth -type d -empty -exec rmdir {} \;
