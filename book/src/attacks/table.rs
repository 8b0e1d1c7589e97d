//! The abuses, chapter by chapter. Each is shell; `$S` is the program of the
//! stage.

use super::{Attack, HAND, half};

/// The stages, in the order of the chapters.
pub(super) const STAGES: [&str; 7] = [
    "step-01-cli-api",
    "step-02-namespaces",
    "step-03-cgroups",
    "step-04-layers",
    "step-05-overlay-cow",
    "step-06-volumes",
    "skiff",
];

/// `app`: busybox, a megabyte or two of it, and 20 MB of something else.
pub(super) const IMAGE: &str = r#"
mkdir -p /run/context && cd /run/context
cp "$(command -v busybox)" sh && head -c 20000000 /dev/urandom >ballast
echo good >app.conf
printf 'FROM scratch\nCOPY sh /bin/\nCOPY sh /bin/busybox\nCOPY ballast /\nCOPY app.conf /conf/\nENV PATH=/bin\n' >Dockerfile
$S build -t app . >/dev/null
"#;

/// Two layers of a stranger, `one.tar` and `two.tar`. The first has a
/// symbolic link that leads to the victim's directory, and the second a file
/// `$1`, with `evil` in it, that lies behind this link. `serve` is a registry
/// that has an image of them, which is three documents and a web server.
const STRANGER: &str = r#"
good=/run/host/victim
mkdir -p /run/host /run/stranger && cd /run/stranger && echo good >$good
layers() {
    ln -s /run/host way && tar -cf one.tar way && rm way
    mkdir way && echo evil >way/$1 && tar -cf two.tar way/$1
}
sum() { sha256sum $1 | cut -d ' ' -f 1; }
blob() {
    cp $1 $blobs/sha256:$(sum $1)
    echo "\"mediaType\": \"application/vnd.oci.image.$2\",
        \"digest\": \"sha256:$(sum $1)\", \"size\": $(stat -c %s $1)"
}
serve() {
    blobs=v2/gift/blobs; mkdir -p $blobs v2/gift/manifests
    diffs="\"sha256:$(sum one.tar)\", \"sha256:$(sum two.tar)\""
    echo "{\"architecture\": \"amd64\", \"os\": \"linux\", \"rootfs\":
        {\"type\": \"layers\", \"diff_ids\": [$diffs]}}" >config
    echo "{\"schemaVersion\": 2,
        \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\",
        \"config\": {$(blob config config.v1+json)},
        \"layers\": [{$(blob one.tar layer.v1.tar)},
            {$(blob two.tar layer.v1.tar)}]}" >v2/gift/manifests/latest
    busybox httpd -p 127.0.0.1:5000
}
landed() {
    find /var/lib/skiff-steps/04/overlay2 -path "*/way/*" |
        sed 's,.*/diff/,it is in the layer as /,'
}"#;

pub(super) const ATTACKS: [Attack; 17] = [
    Attack {
        name: "open-door",
        story: "another user of the machine has root's daemon run a command",
        victim: r#"$S ps >/dev/null; door=/run/skiff-steps/01/daemon.sock
            other() {
                setpriv --reuid 65534 --regid 65534 --clear-groups curl -sS \
                    -X POST -H 'Content-Type: application/json' \
                    --unix-socket $door "http://stage/containers/$@"
            }
            order() {
                id=$(other create -d "$touch" | grep -o '[0-9a-f]\{64\}')
                [ -z "$id" ] || other $id/start
            }
            touch='{"Args": ["touch", "/run/hurt"], "Env": [], "Cwd": "/",
                    "AutoRemove": false, "Flags": {}}'"#,
        // A daemon that trusts whoever can reach it, such as one on a TCP
        // port, is this stage with the lock taken off its door.
        before: half(STAGES[0], "chmod 666 $door; order"),
        after: half(STAGES[0], "order"),
        harm: "sleep 0.2; [ -e /run/hurt ]",
    },
    Attack {
        name: "kill-host",
        story: "a process of the host is killed by its PID",
        victim: "sleep 500 & victim=$!",
        before: half(STAGES[0], r#"$S run sh -c "kill -9 $victim""#),
        after: half(STAGES[1], r#"$S run sh -c "kill -9 $victim""#),
        harm: "sleep 0.2; ! kill -0 $victim",
    },
    Attack {
        name: "rename-host",
        story: "the host gets another name",
        victim: "hostname victim",
        before: half(STAGES[0], "$S run hostname hurt"),
        after: half(STAGES[1], "$S run hostname hurt"),
        harm: "[ $(hostname) = hurt ]",
    },
    Attack {
        name: "proc-sys",
        story: "a setting of the kernel is changed through /proc/sys",
        // One that no namespace has for itself, or the second half would
        // prove nothing; and one that nobody misses for a moment.
        victim: "knob=/proc/sys/kernel/printk_ratelimit_burst
            good=$(cat $knob) evil=$(($(cat $knob) + 1))",
        before: half(STAGES[0], r#"$S run sh -c "echo $evil >$knob""#),
        after: half(STAGES[1], r#"$S run sh -c "echo $evil >$knob""#),
        harm: "found=$(cat $knob); echo $good >$knob; [ $found = $evil ]",
    },
    Attack {
        name: "fork-bomb",
        story: "a hundred processes are started at once",
        victim: r#"bomb='i=0
            while [ $i -lt 100 ]; do sleep 1 & i=$((i+1)); done
            touch /run/hurt'"#,
        before: half(STAGES[1], r#"$S run sh -c "$bomb""#),
        after: half(STAGES[2], r#"$S run --pids-limit 20 sh -c "$bomb""#),
        harm: "[ -e /run/hurt ]",
    },
    Attack {
        name: "memory-hog",
        story: "a program takes 200 MB of memory",
        victim: "hog='head -c 200000000 /dev/zero | tail | wc -l >/run/hurt &&
            head -c 200000000 /dev/zero | tail >/dev/null || rm /run/hurt'",
        before: half(STAGES[1], r#"$S run sh -c "$hog""#),
        after: half(STAGES[2], r#"$S run --memory 32m sh -c "$hog""#),
        harm: "[ -e /run/hurt ]",
    },
    Attack {
        name: "host-file",
        story: "a file of the host is overwritten",
        victim: "echo good >/run/victim",
        before: half(STAGES[2], "$S run sh -c 'echo evil >/run/victim'"),
        after: half(STAGES[3], "$S run app sh -c 'echo evil >/run/victim'"),
        harm: "[ $(cat /run/victim) = evil ]",
    },
    Attack {
        name: "chroot-breakout",
        story: "root walks out of its root directory",
        // A second chroot(2) that does not change the working directory
        // leaves it above the root; from there `..` is never stopped.
        victim: r#"echo good >/run/victim
            leave='busybox mkdir /x && busybox nsenter -r/x -w/ \
                ./bin/busybox sh -c "cd ../../../..; echo evil >run/victim"'"#,
        before: half(
            HAND,
            r#"mkdir -p /run/jail/bin && cp $(command -v busybox) /run/jail/bin
             chroot /run/jail busybox sh -c "$leave""#,
        ),
        after: half(STAGES[3], r#"$S run app sh -c "$leave""#),
        harm: "[ $(cat /run/victim) = evil ]",
    },
    Attack {
        name: "tar-slip",
        story: "a layer writes through a link that an earlier one brought",
        victim: STRANGER,
        before: half(
            HAND,
            "layers victim; mkdir root
             tar -C root -xf one.tar && tar -C root -xf two.tar",
        ),
        after: half(
            STAGES[3],
            "layers victim; serve; $S pull localhost:5000/gift; landed",
        ),
        harm: "[ $(cat $good) = evil ]",
    },
    Attack {
        name: "whiteout",
        story: "a layer removes through a link that an earlier one brought",
        victim: STRANGER,
        before: half(
            HAND,
            "layers .wh.victim; mkdir root
             for layer in one.tar two.tar; do
                 tar -C root -xf $layer
                 find root/*/ -name '.wh.*' | while read mark; do
                     rm -f \"$mark\" \"${mark%.wh.*}${mark##*.wh.}\"
                 done
             done",
        ),
        after: half(
            STAGES[3],
            "layers .wh.victim; serve; $S pull localhost:5000/gift; landed",
        ),
        harm: "! [ -e $good ]",
    },
    Attack {
        name: "fill-disk",
        story: "ten containers of an image of 20 MB are started",
        victim: "used() { du -smx /var/lib/skiff-steps | cut -f1; }
            before=$(used)",
        before: half(
            STAGES[3],
            "for i in 1 2 3 4 5 6 7 8 9 10; do $S run app sh -c :; done",
        ),
        after: half(
            STAGES[4],
            // Containers that did not start take no space, and prove nothing.
            "for i in 1 2 3 4 5 6 7 8 9 10; do
                 $S run app sh -c : || touch /run/hurt
             done",
        ),
        harm: "[ -e /run/hurt ] || [ $(($(used) - before)) -gt 100 ]",
    },
    Attack {
        name: "rewrite-config",
        story: "a program rewrites its own configuration",
        victim: "",
        before: half(
            STAGES[4],
            "$S run --name app app sh -c 'echo evil >/conf/app.conf'
             $S diff app | grep -q 'C /conf/app.conf' && touch /run/hurt",
        ),
        after: half(
            STAGES[5],
            "$S run --name app -v conf:/conf:ro app \
                sh -c 'echo evil >/conf/app.conf'
             grep -r evil /var/lib/skiff-steps/06/volumes && touch /run/hurt",
        ),
        harm: "[ -e /run/hurt ]",
    },
    Attack {
        name: "volume-name",
        story: "a volume's name leads out of the volumes' directory",
        victim: "mkdir -p /run/host && echo good >/run/host/victim",
        before: half(
            HAND,
            "mkdir -p /run/volumes /run/inside; name=../host
             mount --bind /run/volumes/$name /run/inside
             echo evil >/run/inside/victim",
        ),
        after: half(
            STAGES[5],
            r#"name=../../../../../run/host
             $S run --mount type=volume,source=$name,target=/data app \
                 sh -c 'echo evil >/data/victim'"#,
        ),
        harm: "[ $(cat /run/host/victim) = evil ]",
    },
    Attack {
        name: "mount-link",
        story: "an image has a link at the place where a volume will be put",
        victim: "mkdir -p /run/host && echo good >/run/host/victim",
        before: half(
            HAND,
            "mkdir -p /run/data /run/root; ln -s /run/host /run/root/data
             mount --bind /run/data /run/root/data",
        ),
        after: half(
            STAGES[5],
            r#"$S run --name app app sh -c '
                 busybox mkdir -p /run/host
                 busybox ln -s /run/host /data'
             $S commit app linked
             $S run -v data:/data linked sh -c 'busybox mount' |
                 grep -o 'on /run/host'"#,
        ),
        // What was mounted there hides it.
        harm: "! [ -e /run/host/victim ]",
    },
    Attack {
        name: "open-disk",
        story: "a device node is made, and the host's disk opened through it",
        victim: r#"disk=$(cat /sys/class/block/*/dev | head -1 | tr : ' ')
            open="busybox mknod /disk b $disk && : </disk""#,
        before: half(
            STAGES[5],
            r#"$S run --rm app sh -c "$open" && touch /run/hurt"#,
        ),
        after: half(
            STAGES[6],
            // The refusal is one of the disk only where others do run.
            r#"$S run --rm app sh -c : || touch /run/hurt
             $S run --rm app sh -c "$open" && touch /run/hurt"#,
        ),
        harm: "[ -e /run/hurt ]",
    },
    Attack {
        name: "copy-race",
        story: "a directory becomes a link while somebody copies into it",
        victim: r#"mkdir -p /run/host && echo good >/run/host/victim
            echo evil >/run/evil
            swap='busybox mkdir -p /run/host; while :; do
                busybox mkdir /way; busybox rm -r /way
                busybox ln -s /run/host /way; busybox rm /way
            done'"#,
        // What this stage has is the container's directory. Looking before
        // copying does not help, the time between the two is enough.
        before: half(
            STAGES[5],
            r#"id=$($S run -d --name app app sh -c "$swap")
             way=/var/lib/skiff-steps/06/overlay2/$id/merged/way
             for i in $(seq 2000); do
                 [ -d $way ] && ! [ -L $way ] && cp /run/evil $way/victim
                 grep evil /run/host/victim && break
             done 2>/dev/null"#,
        ),
        // Until a copy has met the link: one that never did proves nothing.
        after: half(
            STAGES[6],
            r#"$S run -d --name app app sh -c "$swap"
             for i in $(seq 200); do
                 $S cp -q /run/evil app:/way/victim
                 $S exec app busybox grep evil /run/host/victim && break
             done 2>/dev/null >/run/met
             sed 's/^/it is in the container: /' /run/met
             [ -s /run/met ] || touch /run/hurt"#,
        ),
        harm: "[ -e /run/hurt ] || [ $(cat /run/host/victim) = evil ]",
    },
    Attack {
        name: "kill-daemon",
        story: "the daemon is killed, and with it what it runs",
        victim: "",
        before: half(
            STAGES[5],
            "id=$($S run -d app sh -c 'while :; do :; done')
             pid=$($S inspect $id | sed -n 's/.*\"Pid\": \\([0-9]*\\),/\\1/p')
             kill -9 $(sed -n 's/^PPid:\\t//p' /proc/$pid/status)",
        ),
        after: half(
            STAGES[6],
            // There is no process 0: a run that failed proves nothing.
            "id=$($S run -d app sh -c 'while :; do :; done')
             pid=$($S inspect -f '{{.State.Pid}}' $id); pid=${pid:-0}
             kill -9 $(pgrep -f 'skiff daemon')",
        ),
        harm: "sleep 0.5; ! [ -e /proc/$pid ]",
    },
];
