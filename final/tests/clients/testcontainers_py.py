"""Testcontainers for Python drives the engine."""

import pathlib
import tempfile
import unittest
import urllib.request

from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import HttpWaitStrategy
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

import tap

SERVER = ["sh", "-c", "echo page >/tmp/index.html; echo ready; httpd -f -h /tmp"]


def busybox(*command):
    return DockerContainer("busybox").with_command(list(command))


class Testcontainers(unittest.TestCase):
    def test_run_and_logs(self):
        wait = LogMessageWaitStrategy("ready")
        with busybox("sh", "-c", "echo ready; sleep 60").waiting_for(wait) as it:
            out, err = it.get_logs()
            self.assertEqual((out, err), (b"ready\n", b""))

    def test_exec(self):
        with busybox("sleep", "60").with_env("A", "b") as container:
            done = container.exec(["sh", "-c", "echo $A; exit 3"])
            self.assertEqual((done.exit_code, done.output), (3, b"b\n"))

    def test_published_port(self):
        server = busybox(*SERVER).with_exposed_ports(80)
        with server.waiting_for(HttpWaitStrategy(80)) as container:
            host = container.get_container_host_ip()
            port = container.get_exposed_port(80)
            with urllib.request.urlopen(f"http://{host}:{port}/") as page:
                self.assertEqual(page.read(), b"page\n")

    def test_networks(self):
        with Network() as network:
            server = busybox(*SERVER).with_network(network)
            server.with_network_aliases("web")
            with server.waiting_for(LogMessageWaitStrategy("ready")):
                client = busybox("sleep", "60").with_network(network)
                with client:
                    fetch = "for i in 1 2 3 4 5; do wget -qO- http://web/ && exit; sleep 0.2; done"
                    done = client.exec(["sh", "-c", fetch])
                    self.assertEqual(done.output, b"page\n")

    def test_volumes_and_bound_directories(self):
        with tempfile.TemporaryDirectory() as dir:
            pathlib.Path(dir, "f").write_text("bound\n")
            container = busybox("sleep", "60")
            container.with_volume_mapping(dir, "/bound", "ro")
            container.with_volume_mapping("tc-vol", "/kept", "rw")
            with container:
                self.assertEqual(
                    container.exec("cat /bound/f").output, b"bound\n"
                )
                self.assertEqual(container.exec("touch /kept/f").exit_code, 0)
                self.assertEqual(container.exec("touch /bound/g").exit_code, 1)

    def test_build(self):
        with tempfile.TemporaryDirectory() as dir:
            pathlib.Path(dir, "Dockerfile").write_text(
                'FROM busybox\nRUN echo built >/f\nCMD ["sleep", "60"]\n'
            )
            with DockerImage(path=dir, tag="tc-built") as image:
                with DockerContainer(str(image)) as container:
                    done = container.exec("cat /f")
                    self.assertEqual(done.output, b"built\n")

    def test_copy(self):
        with busybox("sleep", "60") as container:
            with tempfile.TemporaryDirectory() as dir:
                source = pathlib.Path(dir, "f")
                source.write_text("copied\n")
                container.copy_into_container(source, "/tmp/f")
                container.copy_from_container("/tmp/f", pathlib.Path(dir, "g"))
                self.assertEqual(pathlib.Path(dir, "g").read_text(), "copied\n")

    def test_events(self):
        with busybox("sleep", "60") as container:
            client = container.get_docker_client().client
            id = container.get_wrapped_container().id
            events = client.events(
                since=0, until=4102444800, decode=True,
                filters={"container": id, "event": "start"},
            )
            self.assertEqual(next(events)["Actor"]["ID"], id)
            events.close()


tap.main(Testcontainers)
