# The parts of the virtual machine: a kernel with its modules, QEMU with its
# libraries, virtiofsd, busybox. Sourced by cgroup-v2-vm, which sets $here
# and $cache.
#
# They are unpacked and not installed: a development machine may have other
# versions of these packages, and tests should not change what is installed.

# A new number throws away what an older version of this file made.
parts=$cache/parts-3
parts_libraries=$parts/root/usr/lib/x86_64-linux-gnu:$parts/root/lib/x86_64-linux-gnu

parts_ready() {
    [ -e "$parts/complete" ] &&
        LD_LIBRARY_PATH=$parts_libraries \
            "$parts/root/usr/bin/qemu-system-x86_64" --version >/dev/null 2>&1
}

virtiofsd_path() {
    local path
    for path in "$parts/root/usr/lib/qemu/virtiofsd" \
        "$parts/root/usr/libexec/virtiofsd" /usr/lib/qemu/virtiofsd \
        /usr/libexec/virtiofsd; do
        [ ! -x "$path" ] || { echo "$path"; return; }
    done
    return 1
}

parts_fetch() {
    command -v apt-get >/dev/null || { say 'no apt-get here'; return 1; }
    say "fetching a kernel and QEMU into $cache (once)"
    local new=$cache/new.$$
    rm -rf "$cache"/new.*
    mkdir -p "$new/debs" "$new/root" "$new/tools" "$new/initrd.d"
    download "$new" || return
    local deb
    for deb in "$new"/debs/*.deb; do
        dpkg-deb -x "$deb" "$new/root" || return
    done
    rm -rf "$new/debs" "$new/root/usr/share/doc"
    take_kernel "$new" && make_initrd "$new" || return
    touch "$new/complete"
    rm -rf "$cache"/parts-*
    # virtiofsd is asked for after the move, when its path is final.
    mv "$new" "$parts" && virtiofsd_path >/dev/null
}

# The newest kernel of the flavour for virtual machines, and QEMU with those
# of its libraries that this machine does not have.
packages() {
    apt-cache depends linux-image-cloud-amd64 |
        sed -n 's/^ *Depends: *\(linux-image-[0-9].*\)/\1/p' | head -n 1
    apt-get -s --no-install-recommends install qemu-system-x86 2>/dev/null |
        awk '/^Inst/ { print $2 }'
    printf '%s\n' busybox-static kmod qemu-system-x86 qemu-system-common \
        qemu-system-data seabios
    # From Debian 13 on it has a package of its own.
    apt-cache show virtiofsd >/dev/null 2>&1 && echo virtiofsd
}

download() {
    local attempt
    for attempt in 1 2 3; do
        # shellcheck disable=SC2046 # one word a package
        (cd "$1/debs" &&
            apt-get -q download $(packages | sort -u)) >"$1/apt.log" 2>&1 &&
            return
        # Fresh images come without package lists, and a list that is too
        # old names files that are gone.
        apt-get -q update >>"$1/apt.log" 2>&1 || sleep $((attempt * 2))
    done
    tail -n 5 "$1/apt.log" >&2
    return 1
}

take_kernel() {
    version=$(ls "$1/root/lib/modules" | head -n 1)
    [ -n "$version" ] || { say 'the kernel package has no modules'; return 1; }
    mv "$1/root/boot/vmlinuz-$version" "$1/vmlinuz" || return
    mv "$1/root/lib/modules" "$1/tools/modules"
    cp "$1/root/bin/busybox" "$1/root/bin/kmod" "$here/vm/guest-init" \
        "$1/tools/"
    # kmod is one program under several names, and looks for lib/modules.
    ln -s . "$1/tools/lib"
    ln -s kmod "$1/tools/modprobe"
    ln -s kmod "$1/tools/depmod"
    "$1/tools/depmod" -b "$1/tools" "$version"
}

# busybox, the modules without which / cannot be mounted, and the first
# program: everything else comes from this machine's own file system.
make_initrd() {
    local tree=$1/initrd.d name file
    mkdir -p "$tree"/{bin,proc,sys,dev,host,layer,new,modules}
    cp "$1/tools/busybox" "$tree/bin/"
    install -m 755 "$here/vm/first-init" "$tree/init"
    for name in virtio_pci virtio_blk virtiofs overlay ext4; do
        "$1/tools/modprobe" -d "$1/tools" -S "$version" --show-depends \
            "$name" || return
    done | awk '/^insmod/ && !seen[$2]++ { print $2 }' >"$1/modules"
    while read -r file; do
        cp "$file" "$tree/modules/" && basename "$file"
    done <"$1/modules" >"$tree/modules/order"
    (cd "$tree" && find . | bin/busybox cpio -o -H newc 2>/dev/null) |
        gzip -1 >"$1/initrd" || return
    rm -rf "$tree"
}
