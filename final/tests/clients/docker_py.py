"""Docker's SDK for Python drives the engine."""

import io
import socket
import tarfile
import threading
import time
import unittest
import urllib.request

import docker
from docker.errors import APIError, BuildError, ContainerError
from docker.errors import ImageNotFound, NotFound
from docker.types import Healthcheck, IPAMConfig, IPAMPool, LogConfig
from docker.types import Mount, Ulimit

import tap


def tar(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o640
            entry.uid = entry.gid = 7
            archive.addfile(entry, io.BytesIO(text))
    return out.getvalue()


class DockerPy(unittest.TestCase):
    def setUp(self):
        self.client = docker.from_env()
        self.addCleanup(self.client.close)

    def start(self, command="sleep 60", **options):
        """A container in the background, gone after the test."""
        options.setdefault("stop_signal", "KILL")
        container = self.client.containers.run(
            "busybox", command, detach=True, **options
        )
        self.addCleanup(container.remove, force=True, v=True)
        return container

    def create(self, command, **options):
        container = self.client.containers.create(
            "busybox", command, **options
        )
        self.addCleanup(container.remove, force=True, v=True)
        return container

    def test_run_returns_what_was_printed(self):
        run = self.client.containers.run
        self.assertEqual(run("busybox", "echo hello", remove=True), b"hello\n")
        both = run(
            "busybox",
            ["sh", "-c", "echo out; echo err >&2"],
            stderr=True,
            remove=True,
        )
        self.assertEqual(sorted(both.split()), [b"err", b"out"])

    def test_run_that_fails_raises_its_status_and_stderr(self):
        with self.assertRaises(ContainerError) as raised:
            self.client.containers.run(
                "busybox", ["sh", "-c", "echo no >&2; exit 3"], remove=True
            )
        self.assertEqual(raised.exception.exit_status, 3)
        self.assertEqual(raised.exception.stderr, b"no\n")

    def test_run_passes_settings_on(self):
        script = (
            "hostname; id -u; pwd; echo $A; ulimit -n; cat /proc/1/cmdline |"
            " tr '\\0' ' '; cat /sys/class/net/lo/operstate >/dev/null"
        )
        printed = self.client.containers.run(
            "busybox",
            ["sh", "-c", script],
            hostname="box",
            user="65534",
            working_dir="/tmp",
            environment={"A": "b c"},
            ulimits=[Ulimit(name="nofile", soft=123, hard=456)],
            mem_limit="64m",
            read_only=True,
            remove=True,
        ).decode()
        lines = printed.splitlines()
        self.assertEqual(lines[:5], ["box", "65534", "/tmp", "b c", "123"])

    def test_exec(self):
        container = self.start()
        code, output = container.exec_run("echo hi")
        self.assertEqual((code, output), (0, b"hi\n"))
        code, (out, err) = container.exec_run(
            ["sh", "-c", "pwd; echo $X >&2; exit 5"],
            demux=True,
            environment={"X": "y"},
            workdir="/bin",
            user="nobody",
        )
        self.assertEqual((code, out, err), (5, b"/bin\n", b"y\n"))
        streamed = container.exec_run(
            ["sh", "-c", "echo a; sleep 0.1; echo b"], stream=True
        )
        self.assertEqual(b"".join(streamed.output), b"a\nb\n")
        code, _ = container.exec_run("no-such-program")
        self.assertEqual(code, 127)

    def test_exec_with_a_terminal(self):
        container = self.start()
        code, output = container.exec_run("tty", tty=True)
        self.assertEqual(code, 0)
        self.assertTrue(output.endswith(b"/dev/pts/0\r\n"), output)

    def test_exec_frames_a_terminal_unless_its_start_says_so(self):
        # Whether there are frames is the start's `Tty`, not the creation's.
        container = self.start()
        api = self.client.api
        exec_id = api.exec_create(container.id, "echo hi", tty=True)["Id"]
        self.assertEqual(api.exec_start(exec_id), b"hi\r\n")

    def test_exec_over_a_socket(self):
        container = self.start()
        _, stream = container.exec_run("cat", stdin=True, socket=True)
        stream._sock.sendall(b"one\n")
        stream._sock.shutdown(socket.SHUT_WR)
        self.assertEqual(stream.read(), b"\1\0\0\0\0\0\0\4one\n")
        stream.close()

    def test_logs(self):
        container = self.start("sh -c 'echo 1; echo 2; echo 3 >&2'")
        container.wait()
        self.assertEqual(container.logs(), b"1\n2\n3\n")
        # The tail is counted over both streams, and then sorted out.
        self.assertEqual(container.logs(stderr=False, tail=2), b"2\n")
        self.assertEqual(container.logs(stdout=False), b"3\n")
        stamped = container.logs(timestamps=True, tail=1).split(b" ")
        self.assertRegex(stamped[0], rb"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
        self.assertEqual(container.logs(since=int(time.time()) + 60), b"")
        self.assertEqual(container.logs(until=int(time.time()) - 60), b"")

    def test_logs_are_followed(self):
        container = self.start(
            "sh -c 'for i in 1 2 3; do echo $i; sleep 0.1; done'"
        )
        self.assertEqual(b"".join(container.logs(stream=True)), b"1\n2\n3\n")

    def test_attach_with_input(self):
        container = self.create("cat", stdin_open=True)
        stream = container.attach_socket(
            params={"stdin": 1, "stdout": 1, "stream": 1}
        )
        container.start()
        stream._sock.sendall(b"typed\n")
        self.assertEqual(stream.read(14), b"\1\0\0\0\0\0\0\6typed\n")
        stream.close()
        container.kill()

    def test_attach_streams_what_comes(self):
        container = self.create("sh -c 'echo a; echo b >&2'")
        stream = container.attach(stream=True, demux=True)
        container.start()
        self.assertEqual(sorted(stream, key=str), [(None, b"b\n"), (b"a\n", None)])

    def test_build(self):
        dockerfile = (
            b"FROM busybox\nARG A=1\nLABEL a=$A\nCOPY f /f\nRUN cat /f\n"
            b'CMD ["cat", "/f"]\n'
        )
        image, log = self.client.images.build(
            fileobj=io.BytesIO(tar(Dockerfile=dockerfile, f=b"text\n")),
            custom_context=True,
            tag="built:1",
            buildargs={"A": "2"},
            labels={"b": "3"},
            rm=True,
        )
        self.assertEqual(image.tags, ["built:1"])
        self.assertEqual(image.labels, {"a": "2", "b": "3"})
        printed = "".join(line.get("stream", "") for line in log)
        self.assertIn("Step 1/7 : FROM busybox", printed)
        self.assertIn("text\n", printed)
        run = self.client.containers.run
        self.assertEqual(run("built:1", remove=True), b"text\n")
        self.client.images.remove("built:1")

    def test_build_that_fails(self):
        dockerfile = io.BytesIO(b"FROM busybox\nRUN exit 4\n")
        with self.assertRaises(BuildError) as raised:
            self.client.images.build(fileobj=dockerfile)
        self.assertIn(
            "The command '/bin/sh -c exit 4' returned a non-zero code: 4",
            raised.exception.msg,
        )

    def test_copy(self):
        container = self.create("cat /tmp/f")
        self.assertTrue(container.put_archive("/tmp", tar(f=b"copied\n")))
        pieces, stat = container.get_archive("/tmp/f")
        self.assertEqual((stat["name"], stat["size"]), ("f", 7))
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            self.assertEqual(archive.getnames(), ["f"])
            self.assertEqual(archive.getmember("f").uid, 7)
            self.assertEqual(archive.extractfile("f").read(), b"copied\n")
        container.start()
        container.wait()
        self.assertEqual(container.logs(), b"copied\n")
        with self.assertRaises(NotFound):
            container.get_archive("/nowhere")

    def test_events(self):
        filters = {"type": "container", "label": "watched"}
        stream = self.client.events(decode=True, filters=filters)
        container = self.create("true", labels={"watched": "1"})
        container.start()
        container.wait()
        seen = []
        for event in stream:
            seen.append(event["Action"])
            if event["Action"] == "die":
                self.assertEqual(event["Actor"]["Attributes"]["exitCode"], "0")
                self.assertEqual(event["id"], container.id)
                break
        stream.close()
        self.assertEqual(seen, ["create", "start", "die"])

    def test_events_of_the_past_end_by_themselves(self):
        since = int(time.time())
        self.create("true", labels={"past": "1"})
        time.sleep(1.1)
        past = self.client.events(
            since=since, until=int(time.time()), decode=True,
            filters={"label": "past"},
        )
        self.assertEqual([event["Action"] for event in past], ["create"])

    def test_networks(self):
        network = self.client.networks.create(
            "net",
            driver="bridge",
            labels={"a": "b"},
            ipam=IPAMConfig(pool_configs=[IPAMPool("10.77.0.0/24")]),
        )
        self.addCleanup(network.remove)
        server = self.start(
            ["sh", "-c", "echo page >/tmp/index.html; httpd -f -h /tmp"],
            network="net",
        )
        client = self.start()
        network.connect(client, aliases=["me"], ipv4_address="10.77.0.9")
        client.reload()
        there = client.attrs["NetworkSettings"]["Networks"]["net"]
        self.assertEqual(there["IPAddress"], "10.77.0.9")
        self.assertIn("me", there["Aliases"])
        fetch = (
            "for i in 1 2 3 4 5 6 7 8 9; do"
            f" wget -q -O - http://{server.name}/ && break; sleep 0.2; done"
        )
        self.assertEqual(
            client.exec_run(["sh", "-c", fetch]).output, b"page\n"
        )
        network.reload()
        self.assertEqual(
            {it.id for it in network.containers}, {server.id, client.id}
        )
        found = self.client.networks.list(filters={"label": "a=b"})
        self.assertEqual([it.name for it in found], ["net"])
        network.disconnect(client)
        with self.assertRaises(APIError) as raised:
            network.remove()
        self.assertEqual(raised.exception.status_code, 403)
        server.remove(force=True)
        self.doCleanup_of(server)

    def doCleanup_of(self, container):
        """It is gone already."""
        kept = [
            it for it in self._cleanups
            if getattr(it[0], "__self__", None) is not container
        ]
        self._cleanups[:] = kept

    def test_published_ports(self):
        container = self.start(
            ["sh", "-c", "echo page >/tmp/index.html; httpd -f -h /tmp"],
            ports={"80/tcp": ("127.0.0.1", None)},
        )
        container.reload()
        binding = container.ports["80/tcp"][0]
        self.assertEqual(binding["HostIp"], "127.0.0.1")
        url = f"http://127.0.0.1:{binding['HostPort']}/"
        for _ in range(50):
            try:
                page = urllib.request.urlopen(url, timeout=5).read()
                break
            except OSError:
                # The server is not up yet.
                time.sleep(0.1)
        self.assertEqual(page, b"page\n")

    def test_volumes(self):
        volume = self.client.volumes.create("vol", labels={"a": "b"})
        self.assertEqual(volume.attrs["Driver"], "local")
        run = self.client.containers.run
        mounts = [Mount(target="/data", source="vol", type="volume")]
        run("busybox", ["sh", "-c", "echo kept >/data/f"], mounts=mounts,
            remove=True)
        again = run("busybox", "cat /v/f", volumes={"vol": {"bind": "/v",
                    "mode": "ro"}}, remove=True)
        self.assertEqual(again, b"kept\n")
        holder = self.create("true", volumes=["vol:/data"])
        with self.assertRaises(APIError) as raised:
            volume.remove()
        self.assertEqual(raised.exception.status_code, 409)
        self.assertIn(holder.id, raised.exception.explanation)
        holder.remove()
        self.doCleanup_of(holder)
        volume.remove()
        with self.assertRaises(NotFound):
            self.client.volumes.get("vol")

    def test_images(self):
        image = self.client.images.get("busybox")
        self.assertTrue(image.tag("other", "2"))
        image.reload()
        self.assertEqual(image.tags, ["busybox:latest", "other:2"])
        file = b"".join(image.save(named="other:2"))
        self.client.images.remove("other:2")
        with self.assertRaises(ImageNotFound):
            self.client.images.get("other:2")
        loaded = self.client.images.load(file)
        self.assertEqual([it.id for it in loaded], [image.id])
        self.assertEqual(len(image.history()), 1)
        self.client.images.remove("other:2")

    def test_commit(self):
        container = self.start("sh -c 'echo new >/f'")
        container.wait()
        image = container.commit("committed", "1", changes='CMD ["cat", "/f"]')
        printed = self.client.containers.run(image.id, remove=True)
        self.assertEqual(printed, b"new\n")
        changes = [(it["Path"], it["Kind"]) for it in container.diff()]
        self.assertEqual(changes, [("/f", 1)])
        self.client.images.remove("committed:1")

    def test_commit_of_one_that_is_just_ending(self):
        for _ in range(5):
            container = self.start("true")
            image = container.commit()
            self.client.images.remove(image.id)

    def test_life(self):
        container = self.start()
        container.pause()
        container.reload()
        self.assertEqual(container.status, "paused")
        container.unpause()
        container.rename("renamed")
        container.update(mem_limit="128m", memswap_limit="256m")
        container.reload()
        self.assertEqual(container.name, "renamed")
        self.assertEqual(container.attrs["HostConfig"]["Memory"], 128 << 20)
        self.assertEqual(container.top()["Processes"][0][-1], "sleep 60")
        stats = container.stats(stream=False)
        self.assertEqual(stats["name"], "/renamed")
        self.assertEqual(stats["memory_stats"]["limit"], 128 << 20)
        container.restart(timeout=0)
        container.stop(timeout=0)
        self.assertEqual(container.wait()["StatusCode"], 137)

    def test_health(self):
        check = Healthcheck(
            test=["CMD", "true"], interval=100_000_000, retries=2
        )
        container = self.start(healthcheck=check)
        for _ in range(100):
            container.reload()
            if container.health == "healthy":
                break
            time.sleep(0.05)
        self.assertEqual(container.health, "healthy")

    def test_log_driver(self):
        container = self.start(
            "echo x", log_config=LogConfig(type="local")
        )
        container.wait()
        self.assertEqual(container.logs(), b"x\n")
        self.assertEqual(
            container.attrs["HostConfig"]["LogConfig"]["Type"], "local"
        )

    def test_lists_and_filters(self):
        first = self.start(labels={"which": "1"}, name="first")
        second = self.create("true", labels={"which": "2"})
        find = self.client.containers.list
        running = find(filters={"label": "which"})
        self.assertEqual([it.id for it in running], [first.id])
        both = find(all=True, filters={"label": "which"})
        self.assertEqual([it.id for it in both], [second.id, first.id])
        named = find(filters={"name": "^/first$"})
        self.assertEqual([it.name for it in named], ["first"])
        created = find(all=True, filters={"status": "created"})
        self.assertEqual([it.id for it in created], [second.id])

    def test_errors_have_dockers_status_and_message(self):
        for status, message, verb in [
            (404, "No such container: nobody",
             lambda: self.client.containers.get("nobody")),
            (404, "No such image: nothing:latest",
             lambda: self.client.containers.create("nothing")),
            (404, "get nowhere: no such volume",
             lambda: self.client.volumes.get("nowhere")),
            (404, "network nonet not found",
             lambda: self.client.networks.get("nonet")),
            (400, "Invalid container name (/), only [a-zA-Z0-9]"
             "[a-zA-Z0-9_.-] are allowed",
             lambda: self.client.containers.create("busybox", name="/")),
        ]:
            with self.assertRaises(APIError) as raised:
                verb()
            self.assertEqual(raised.exception.status_code, status)
            self.assertEqual(raised.exception.explanation, message)
        self.start(name="taken")
        with self.assertRaises(APIError) as raised:
            self.create("true", name="taken")
        self.assertEqual(raised.exception.status_code, 409)
        self.assertIn(
            'Conflict. The container name "/taken" is already in use by'
            " container",
            raised.exception.explanation,
        )
        with self.assertRaises(APIError) as raised:
            self.start("no-such-program")
        self.assertEqual(raised.exception.status_code, 400)
        self.assertIn(
            'exec: "no-such-program": executable file not found in $PATH',
            raised.exception.explanation,
        )
        self.client.containers.prune()

    def test_prune(self):
        self.client.containers.create("busybox", "true", labels=["old"])
        pruned = self.client.containers.prune(filters={"label": "old"})
        self.assertEqual(len(pruned["ContainersDeleted"]), 1)
        self.client.volumes.create(labels={"old": "1"})
        pruned = self.client.volumes.prune(filters={"label": "old"})
        self.assertEqual(len(pruned["VolumesDeleted"]), 1)
        self.client.networks.create("old", labels={"old": "1"})
        pruned = self.client.networks.prune(filters={"label": "old"})
        self.assertEqual(pruned["NetworksDeleted"], ["old"])
        self.assertEqual(
            self.client.images.prune(filters={"dangling": True}),
            {"ImagesDeleted": None, "SpaceReclaimed": 0},
        )

    def test_system(self):
        self.assertTrue(self.client.ping())
        version = self.client.version()
        self.assertEqual(version["MinAPIVersion"], "1.24")
        info = self.client.info()
        self.assertEqual(info["OSType"], "linux")
        self.assertEqual(info["Swarm"]["LocalNodeState"], "inactive")
        usage = self.client.df()
        tags = [image["RepoTags"] for image in usage["Images"]]
        self.assertIn(["busybox:latest"], tags)

    def test_many_threads_at_once(self):
        failures = []

        def one(number):
            try:
                printed = self.client.containers.run(
                    "busybox", f"echo {number}", remove=True,
                    network_mode="none",
                )
                if printed != f"{number}\n".encode():
                    failures.append((number, printed))
            except Exception as error:
                failures.append((number, error))

        threads = [
            threading.Thread(target=one, args=(number,))
            for number in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


tap.main(DockerPy)
