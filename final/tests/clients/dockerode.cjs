// dockerode, the SDK for Node, drives the engine.
'use strict';
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { PassThrough } = require('node:stream');
const { text } = require('node:stream/consumers');
const { afterEach, test } = require('node:test');
const Docker = require('dockerode');

const docker = new Docker();
let made = [];

afterEach(async () => {
    for (const thing of made.reverse()) {
        await thing.remove({ force: true, v: true }).catch(() => {});
    }
    made = [];
});

async function create(Cmd, more = {}) {
    const container = await docker.createContainer({
        Image: 'busybox', Cmd, StopSignal: 'KILL', ...more,
    });
    made.push(container);
    return container;
}

async function start(Cmd, more) {
    const container = await create(Cmd, more);
    await container.start();
    return container;
}

// What comes over one connection, taken apart.
async function both(stream) {
    const [out, err] = [new PassThrough(), new PassThrough()];
    docker.modem.demuxStream(stream, out, err);
    stream.on('end', () => { out.end(); err.end(); });
    return Promise.all([text(out), text(err)]);
}

function tarOf(files) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tar-'));
    for (const [name, content] of Object.entries(files)) {
        fs.writeFileSync(path.join(dir, name), content);
    }
    const tar = execFileSync('tar', ['c', '-C', dir, ...Object.keys(files)]);
    fs.rmSync(dir, { recursive: true });
    return tar;
}

const followed = stream => new Promise((resolve, reject) =>
    docker.modem.followProgress(stream, (error, lines) =>
        error ? reject(error) : resolve(lines)));

const refused = (status, message) => error => {
    assert.equal(error.statusCode, status);
    assert.equal(error.json.message, message);
    return true;
};

// What `run` attached to may still bring output when its wait is answered, but
// ends by itself.
test('run', async () => {
    const out = new PassThrough();
    const [ended, container] = await docker.run(
        'busybox', ['sh', '-c', 'echo hello; exit 3'], out);
    assert.equal(ended.StatusCode, 3);
    assert.equal(await text(out), 'hello\r\n');
    await container.remove();
});

// Without `AutoRemove`: the SDK asks for the end only once the start has been
// answered, and by then the container may be gone, in Docker as well.
test('run with stdout and stderr apart', async () => {
    const [out, err] = [new PassThrough(), new PassThrough()];
    const [ended, container] = await docker.run(
        'busybox', ['sh', '-c', 'echo out; echo err >&2'], [out, err],
        { Tty: false });
    made.push(container);
    assert.equal(ended.StatusCode, 0);
    assert.equal(await text(out), 'out\n');
    assert.equal(await text(err), 'err\n');
});

test('attach with input over a hijacked connection', async () => {
    const container = await create(['cat'], { OpenStdin: true, StdinOnce: true });
    const stream = await container.attach({
        stream: true, hijack: true, stdin: true, stdout: true, stderr: true,
    });
    await container.start();
    stream.end('typed\n');
    assert.deepEqual(await both(stream), ['typed\n', '']);
    assert.equal((await container.wait()).StatusCode, 0);
});

test('attach to a terminal, and resize it', async () => {
    const container = await create(['sh', '-c', 'read x; stty size'], {
        Tty: true, OpenStdin: true,
    });
    const stream = await container.attach({
        stream: true, hijack: true, stdin: true, stdout: true,
    });
    await container.start();
    await container.resize({ h: 33, w: 77 });
    stream.write('\n');
    assert.match(await text(stream), /33 77\r\n$/);
});

test('exec', async () => {
    const container = await start(['sleep', '60']);
    const exec = await container.exec({
        Cmd: ['sh', '-c', 'echo $A; pwd >&2; exit 5'], Env: ['A=b'],
        WorkingDir: '/tmp', AttachStdout: true, AttachStderr: true,
    });
    const stream = await exec.start({});
    assert.deepEqual(await both(stream), ['b\n', '/tmp\n']);
    const after = await exec.inspect();
    assert.equal(after.ExitCode, 5);
    assert.equal(after.Running, false);
});

test('exec with input', async () => {
    const container = await start(['sleep', '60']);
    const exec = await container.exec({
        Cmd: ['wc', '-c'], AttachStdin: true, AttachStdout: true,
    });
    const stream = await exec.start({ hijack: true, stdin: true });
    stream.end('12345');
    assert.deepEqual(await both(stream), ['5\n', '']);
});

test('logs', async () => {
    const container = await start(['sh', '-c', 'echo 1; echo 2 >&2']);
    await container.wait();
    const all = await container.logs({ stdout: true, stderr: true });
    assert.equal(all.toString('latin1'), '\x01\0\0\0\0\0\0\x021\n\x02\0\0\0\0\0\0\x022\n');
    const stamped = await container.logs({ stdout: true, timestamps: true });
    assert.match(stamped.subarray(8).toString(), /^\d{4}-\d\d-\d\dT\S+Z 1\n$/);
});

test('logs are followed', async () => {
    const container = await start(
        ['sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.1; done']);
    const stream = await container.logs({ follow: true, stdout: true });
    assert.deepEqual(await both(stream), ['1\n2\n3\n', '']);
});

test('build', async () => {
    const context = tarOf({
        Dockerfile: 'FROM busybox\nARG A\nCOPY f /f\nRUN cat /f; echo $A >>/f\n',
        f: 'text\n',
    });
    const file = path.join(os.tmpdir(), 'context.tar');
    fs.writeFileSync(file, context);
    const stream = await docker.buildImage(file, {
        t: 'built', buildargs: JSON.stringify({ A: 'b' }),
    });
    const printed = (await followed(stream)).map(it => it.stream ?? '').join('');
    assert.match(printed, /Step 4\/4 : RUN cat \/f/);
    assert.match(printed, /Successfully tagged built:latest\n/);
    const container = await start(['cat', '/f'], { Image: 'built' });
    await container.wait();
    const log = await container.logs({ stdout: true });
    assert.match(log.toString(), /text\n/);
    assert.match(log.toString(), /b\n$/);
    made.push(docker.getImage('built'));
});

test('build that fails', async () => {
    const file = path.join(os.tmpdir(), 'context.tar');
    fs.writeFileSync(file, tarOf({ Dockerfile: 'FROM busybox\nRUN exit 4\n' }));
    const lines = await followed(await docker.buildImage(file, {}));
    assert.deepEqual(lines.at(-1).errorDetail, {
        code: 4,
        message: "The command '/bin/sh -c exit 4' returned a non-zero code: 4",
    });
});

test('build from files that the SDK packs', async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'context-'));
    fs.writeFileSync(path.join(dir, 'Dockerfile'), 'FROM busybox\nCOPY . /all\n');
    fs.writeFileSync(path.join(dir, '.dockerignore'), 'secret\n');
    fs.writeFileSync(path.join(dir, 'secret'), '');
    fs.writeFileSync(path.join(dir, 'open'), '');
    const stream = await docker.buildImage(
        { context: dir, src: ['Dockerfile', '.dockerignore', 'secret', 'open'] },
        { t: 'packed' });
    await followed(stream);
    const container = await start(['ls', '/all'], { Image: 'packed' });
    await container.wait();
    const log = await container.logs({ stdout: true });
    assert.match(log.toString(), /open\n$/);
    assert.doesNotMatch(log.toString(), /secret/);
    made.push(docker.getImage('packed'));
});

test('copy', async () => {
    const container = await create(['cat', '/tmp/f']);
    await container.putArchive(tarOf({ f: 'copied\n' }), { path: '/tmp' });
    const info = await container.infoArchive({ path: '/tmp/f' });
    info.resume();
    const stat = JSON.parse(Buffer.from(
        info.headers['x-docker-container-path-stat'], 'base64').toString());
    assert.equal(stat.size, 7);
    const stream = await container.getArchive({ path: '/tmp/f' });
    assert.match(await text(stream), /copied\n/);
    await container.start();
    await container.wait();
    const log = await container.logs({ stdout: true });
    assert.equal(log.subarray(8).toString(), 'copied\n');
});

test('copy into a volume of a container that never ran', async () => {
    const container = await create(['cat', '/vol/f'], { Volumes: { '/vol': {} } });
    await container.putArchive(tarOf({ f: 'kept\n' }), { path: '/vol' });
    await container.start();
    await container.wait();
    const log = await container.logs({ stdout: true });
    assert.equal(log.subarray(8).toString(), 'kept\n');
});

test('events', async () => {
    const stream = await docker.getEvents({
        filters: { type: ['container'], label: ['watched'] },
    });
    const container = await start(['true'], { Labels: { watched: '1' } });
    await container.wait();
    const seen = [];
    let rest = '';
    for await (const piece of stream) {
        const lines = (rest + piece).split('\n');
        rest = lines.pop();
        seen.push(...lines.filter(Boolean).map(line => JSON.parse(line)));
        if (seen.some(event => event.Action === 'die')) break;
    }
    assert.deepEqual(seen.map(it => it.Action), ['create', 'start', 'die']);
    assert.equal(seen[0].Actor.ID, container.id);
    assert.equal(seen[2].Actor.Attributes.exitCode, '0');
});

test('networks', async () => {
    const network = await docker.createNetwork({
        Name: 'net', Labels: { a: 'b' },
        IPAM: { Config: [{ Subnet: '10.78.0.0/24', Gateway: '10.78.0.1' }] },
    });
    made.push(network);
    const server = await start(
        ['sh', '-c', 'echo page >/tmp/index.html; httpd -f -h /tmp'], {
            NetworkingConfig: { EndpointsConfig: { net: { Aliases: ['web'] } } },
            HostConfig: { NetworkMode: 'net' },
        });
    const client = await start(['sh', '-c',
        'for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://web/ && exit; sleep 0.2; done'],
        { HostConfig: { NetworkMode: 'net' } });
    await client.wait();
    assert.match((await client.logs({ stdout: true })).toString(), /page\n$/);
    const other = await start(['sleep', '60']);
    await network.connect({
        Container: other.id,
        EndpointConfig: { IPAMConfig: { IPv4Address: '10.78.0.9' } },
    });
    const there = (await other.inspect()).NetworkSettings.Networks.net;
    assert.equal(there.IPAddress, '10.78.0.9');
    assert.deepEqual(Object.keys((await network.inspect()).Containers).sort(),
        [server.id, other.id].sort());
    await network.disconnect({ Container: other.id });
    const found = await docker.listNetworks({ filters: { label: ['a=b'] } });
    assert.deepEqual(found.map(it => it.Name), ['net']);
});

test('volumes', async () => {
    const created = await docker.createVolume({ Name: 'vol', Labels: { a: 'b' } });
    made.push(docker.getVolume('vol'));
    assert.equal((created.Name ?? created.name), 'vol');
    const mount = { HostConfig: { Binds: ['vol:/data'] } };
    const writer = await start(['sh', '-c', 'echo kept >/data/f'], mount);
    await writer.wait();
    const reader = await start(['cat', '/data/f'], {
        HostConfig: { Mounts: [
            { Type: 'volume', Source: 'vol', Target: '/data', ReadOnly: true },
        ] },
    });
    await reader.wait();
    assert.match((await reader.logs({ stdout: true })).toString(), /kept\n$/);
    const volume = docker.getVolume('vol');
    await assert.rejects(volume.remove(), error => error.statusCode === 409);
    const { Volumes } = await docker.listVolumes({ filters: { label: ['a=b'] } });
    assert.deepEqual(Volumes.map(it => it.Name), ['vol']);
});

test('images', async () => {
    const image = docker.getImage('busybox');
    await image.tag({ repo: 'other', tag: '2' });
    const { Id, RepoTags } = await image.inspect();
    assert.deepEqual(RepoTags.sort(), ['busybox:latest', 'other:2']);
    const file = path.join(os.tmpdir(), 'image.tar');
    const out = fs.createWriteStream(file);
    (await docker.getImage('other:2').get()).pipe(out);
    await new Promise(resolve => out.on('close', resolve));
    await docker.getImage('other:2').remove();
    const lines = await followed(await docker.loadImage(file, {}));
    assert.equal(lines.at(-1).stream, 'Loaded image: other:2\n');
    assert.equal((await docker.getImage('other:2').inspect()).Id, Id);
    assert.equal((await docker.getImage('other:2').history()).length, 1);
    await docker.getImage('other:2').remove();
});

test('life', async () => {
    const container = await start(['sleep', '60'], { name: 'first' });
    await container.pause();
    assert.equal((await container.inspect()).State.Status, 'paused');
    await container.unpause();
    await container.rename({ name: 'second' });
    await container.update({ Memory: 128 << 20, MemorySwap: 256 << 20 });
    const { Name, HostConfig } = await container.inspect();
    assert.deepEqual([Name, HostConfig.Memory], ['/second', 128 << 20]);
    assert.deepEqual((await container.top()).Processes[0].at(-1), 'sleep 60');
    const stats = await container.stats({ stream: false });
    assert.equal(stats.memory_stats.limit, 128 << 20);
    await container.restart({ t: 0 });
    await container.stop({ t: 0 });
    assert.equal((await container.wait()).StatusCode, 137);
});

test('commit', async () => {
    const container = await start(['sh', '-c', 'echo new >/f']);
    await container.wait();
    assert.deepEqual(await container.changes(), [{ Path: '/f', Kind: 1 }]);
    await container.commit({ repo: 'committed', changes: 'CMD ["cat", "/f"]' });
    const { Config } = await docker.getImage('committed').inspect();
    assert.deepEqual(Config.Cmd, ['cat', '/f']);
    await docker.getImage('committed').remove();
});

test('errors have Docker’s status and message', async () => {
    await assert.rejects(docker.getContainer('nobody').inspect(),
        refused(404, 'No such container: nobody'));
    await assert.rejects(docker.createContainer({ Image: 'nothing' }),
        refused(404, 'No such image: nothing:latest'));
    await assert.rejects(docker.getVolume('nowhere').inspect(),
        refused(404, 'get nowhere: no such volume'));
    const container = await create(['no-such-program']);
    await assert.rejects(container.start(), error => {
        assert.equal(error.statusCode, 400);
        return /executable file not found in \$PATH/.test(error.json.message);
    });
    await assert.rejects(container.kill(), refused(409,
        `cannot kill container: ${container.id}: container ${container.id} is not running`));
});

test('system', async () => {
    assert.equal((await docker.ping()).toString(), 'OK');
    assert.equal((await docker.version()).MinAPIVersion, '1.24');
    assert.equal((await docker.info()).OSType, 'linux');
    assert.ok((await docker.df()).Images.length > 0);
    assert.deepEqual(await docker.pruneVolumes(),
        { VolumesDeleted: [], SpaceReclaimed: 0 });
});
