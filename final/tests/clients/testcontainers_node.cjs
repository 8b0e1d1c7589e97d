// Testcontainers for Node drives the engine.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { GenericContainer, Network, Wait } = require('testcontainers');

const SERVER = ['sh', '-c',
    'echo page >/tmp/index.html; echo ready; httpd -f -h /tmp'];

const busybox = command =>
    new GenericContainer('busybox').withCommand(command);

// The first of what was printed. Testcontainers unrefs the connection of its
// logs, so that reading them keeps no program alive: with nothing else to wait
// for, Node ends before the first line is there. The timer is that something.
async function logsOf(container) {
    const alive = setInterval(() => {}, 1000);
    const stream = await container.logs();
    const piece = await new Promise(resolve => stream.once('data', resolve));
    stream.destroy();
    clearInterval(alive);
    return piece.toString();
}

test('run and logs', async () => {
    const container = await busybox(['sh', '-c', 'echo ready; sleep 1'])
        .withWaitStrategy(Wait.forLogMessage('ready')).start();
    assert.equal(await logsOf(container), 'ready\n');
    await container.stop();
});

test('one that ends by itself', async () => {
    const container = await busybox(['sh', '-c', 'echo done'])
        .withWaitStrategy(Wait.forOneShotStartup()).start();
    assert.equal(await logsOf(container), 'done\n');
    await container.stop();
});

test('exec', async () => {
    const container = await busybox(['sleep', '60'])
        .withEnvironment({ A: 'b' }).start();
    const { output, exitCode } = await container.exec(
        ['sh', '-c', 'echo $A; pwd; exit 3'], { workingDir: '/tmp' });
    assert.deepEqual([output, exitCode], ['b\n/tmp\n', 3]);
    await container.stop({ timeout: 0 });
});

test('published port', async () => {
    const container = await busybox(SERVER).withExposedPorts(80)
        .withWaitStrategy(Wait.forAll(
            [Wait.forListeningPorts(), Wait.forHttp('/', 80)])).start();
    const page = await fetch(
        `http://${container.getHost()}:${container.getMappedPort(80)}/`);
    assert.equal(await page.text(), 'page\n');
    await container.stop({ timeout: 0 });
});

test('health', async () => {
    const container = await busybox(['sh', '-c', 'sleep 0.3; touch /ok; sleep 60'])
        .withHealthCheck({ test: ['CMD', 'test', '-e', '/ok'], interval: 100, retries: 50 })
        .withWaitStrategy(Wait.forHealthCheck()).start();
    await container.stop({ timeout: 0 });
});

test('networks', async () => {
    const network = await new Network().start();
    const server = await busybox(SERVER).withNetwork(network)
        .withNetworkAliases('web')
        .withWaitStrategy(Wait.forLogMessage('ready')).start();
    const client = await busybox(['sleep', '60']).withNetwork(network).start();
    const { output } = await client.exec(['sh', '-c',
        'for i in 1 2 3 4 5; do wget -qO- http://web/ && exit; sleep 0.2; done']);
    assert.equal(output, 'page\n');
    await client.stop({ timeout: 0 });
    await server.stop({ timeout: 0 });
    await network.stop();
});

test('copy and volumes', async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bound-'));
    fs.writeFileSync(path.join(dir, 'f'), 'bound\n');
    const container = await busybox(['sleep', '60'])
        .withCopyContentToContainer([{ content: 'copied\n', target: '/tmp/f' }])
        .withBindMounts([{ source: dir, target: '/bound', mode: 'ro' }])
        .withTmpFs({ '/memory': 'rw,size=1m' })
        .start();
    const { output } = await container.exec(['cat', '/tmp/f', '/bound/f']);
    assert.equal(output, 'copied\nbound\n');
    const archive = await container.copyArchiveFromContainer('/tmp/f');
    let bytes = '';
    for await (const piece of archive) bytes += piece;
    assert.match(bytes, /copied\n/);
    await container.stop({ timeout: 0 });
});

test('build', async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'context-'));
    fs.writeFileSync(path.join(dir, 'Dockerfile'),
        'FROM busybox\nARG A\nRUN echo $A >/f\nCMD ["sleep", "60"]\n');
    const image = await GenericContainer.fromDockerfile(dir)
        .withBuildArgs({ A: 'built' }).build('tcnode:1', { deleteOnExit: false });
    const container = await image.start();
    assert.equal((await container.exec(['cat', '/f'])).output, 'built\n');
    await container.stop({ timeout: 0 });
});

test('restart', async () => {
    const container = await busybox(['sh', '-c', 'echo ready; sleep 60'])
        .withWaitStrategy(Wait.forLogMessage('ready')).start();
    await container.restart({ timeout: 0 });
    await container.stop({ timeout: 0 });
});

test('a missing image is refused', async () => {
    await assert.rejects(new GenericContainer('no-such-image').start());
});
