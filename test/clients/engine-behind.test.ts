/** docker's CLI with one DOCKER_HOST: Drydock builds, a real dockerd behind it runs. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { findImage, isHere } from '../../src/distribution/stored.ts';
import { build } from '../../src/sdk/build.ts';
import { type EngineFront, startEngineFront } from '../kit/engine-front.ts';
import { onLocal } from '../kit/stores.ts';
import { Terminal } from '../kit/terminal.ts';

onLocal('docker in front of an engine', (store) => {
  let front: EngineFront;
  let context: string;
  const docker: EngineFront['docker'] = (...args) => front.docker(...args);
  const run = (...args: string[]) => docker(['run', '--network', 'none', ...args]);
  beforeAll(async () => {
    front = await startEngineFront(store);
    context = join(front.daemon.dir, 'context');
    mkdirSync(context);
    await copyFile('/bin/busybox', join(context, 'busybox'));
    writeFileSync(
      join(context, 'Dockerfile'),
      'FROM scratch AS one\nCOPY busybox /bin/sh\nCOPY busybox /bin/\nFROM one\nCOPY Dockerfile /d\n',
    );
    await docker(['build', '-q', '--target', 'one', '-t', 'one', context]);
    await docker(['build', '-q', '-t', 'two', context]);
  });
  afterAll(() => front?.stop());

  test('run, exec and remove; only what is new goes over', async () => {
    expect(await run('--rm', 'one', 'sh', '-c', 'echo ran')).toBe('ran');
    await run('-d', '--name', 'cc', 'two', 'sh', '-c', 'read x < /dev/zero');
    expect(await docker(['exec', '-i', 'cc', 'sh', '-c', 'read x; echo got $x'], { input: 'typed\n' })).toBe(
      'got typed',
    );
    const layers = JSON.parse(await docker(['inspect', 'one']))[0].RootFS.Layers.length;
    expect(front.handedOver()).toEqual([
      ['one', 0],
      ['two', layers],
    ]);
    await expect(docker(['rmi', 'two'])).rejects.toThrow('is using its referenced image');
    const id = await docker(['images', '-q', 'two']);
    await expect(docker(['rmi', id])).rejects.toThrow(/is (using its referenced image|being used by)/);
    await docker(['rm', '-f', 'cc']);
    await docker(['rmi', 'two']);
    expect(await docker(['images', '-q', 'two'])).toBe('');
    expect(await docker(['-H', front.dockerd.host, 'images', '-q', 'two'])).toBe('');
  });

  test('a terminal, with its size and what is typed', async () => {
    const env = { ...process.env, DOCKER_HOST: front.daemon.host, DOCKER_CONFIG: front.daemon.dir };
    // The size comes by a request of its own, after the start.
    const size = 'until busybox stty size 2> /dev/null | busybox grep "31 101"; do busybox sleep 0.1; done';
    const command = `echo ready; read x; echo "got:$x"; ${size}; exit 3`;
    const args = ['run', '--rm', '-it', '--network', 'none', 'one', 'sh', '-c', command];
    const terminal = new Terminal('/usr/bin/docker', args, env, [30, 100]);
    await terminal.until(/ready/);
    // docker begins to hear of changes some time after the container has begun to speak.
    const resizing = setInterval(() => {
      terminal.resize(30, 101);
      terminal.resize(31, 101);
    }, 200);
    terminal.type('typed\r');
    await terminal.until(/got:typed/);
    expect(await terminal.code).toBe(3);
    clearInterval(resizing);
    terminal.close();
  });

  test('logs are followed to the end, however large; wait tells the exit code', async () => {
    const lines = 200_000;
    const script = `i=0; while [ $i -lt ${lines} ]; do echo "line $i of many"; i=$((i+1)); done; exit 7`;
    await run('-d', '--name', 'talks', 'one', 'sh', '-c', script);
    const [logs, code] = await Promise.all([docker(['logs', '-f', 'talks']), docker(['wait', 'talks'])]);
    expect(code).toBe('7');
    const all = Array.from({ length: lines }, (_, i) => `line ${i} of many`).join('\n');
    expect(logs === all).toBe(true);
    await docker(['rm', 'talks']);
  });

  test('large input comes through, and its end with it', async () => {
    const input = 'x'.repeat(8 << 20);
    expect(
      await docker(['run', '--rm', '-i', '--network', 'none', 'one', 'busybox', 'wc', '-c'], { input }),
    ).toBe(`${input.length}`);
  });

  test('files are copied in and out', async () => {
    await docker(['create', '--name', 'files', '--network', 'none', 'one', 'sh']);
    const file = join(front.daemon.dir, 'put');
    writeFileSync(file, 'put here');
    await docker(['cp', file, 'files:/put']);
    await docker(['cp', 'files:/put', `${file}-back`]);
    expect(readFileSync(`${file}-back`, 'utf8')).toBe('put here');
    await docker(['rm', 'files']);
  });

  test('an image that a container was committed to is used like any other', async () => {
    await run('--name', 'made', 'one', 'sh', '-c', 'echo made > /made');
    const id = await docker(['commit', '-m', 'by hand', 'made']);
    expect(await docker(['images', '-q', '--no-trunc', '--filter', 'dangling=true'])).toBe(id);
    await docker(['commit', 'made', 'reg.example/committed:1']);
    await docker(['rm', 'made']);
    expect(await run('--rm', id, 'sh', '-c', 'read x < /made; echo $x')).toBe('made');
    const dockerfile = join(front.daemon.dir, 'FromCommitted');
    writeFileSync(dockerfile, 'FROM reg.example/committed:1\nRUN read x < /made && echo $x > /again\n');
    await docker(['build', '-q', '-t', 'again', '-f', dockerfile, context]);
    expect(await run('--rm', 'again', 'sh', '-c', 'read x < /again; echo $x')).toBe('made');
    await docker(['rmi', 'again', 'reg.example/committed:1', id]);
    expect(await docker(['images', '-q', 'reg.example/committed'])).toBe('');
    await expect(docker(['commit', 'nosuch', 'x'])).rejects.toThrow('No such container: nosuch');
  });

  test('what was committed keeps the layers that were here, as they are here, when their image goes', async () => {
    const { engine } = front.daemon;
    const attrs = { name: 'zipped', compression: 'gzip', 'force-compression': 'true' };
    await build({ engine, context, outputs: [{ type: 'image', attrs }] });
    const base = (await findImage(engine.store, 'zipped')).image.document.layers;
    await run('--name', 'made', 'zipped', 'sh', '-c', 'echo made > /made');
    await docker(['commit', 'made', 'onzipped']);
    await docker(['rm', 'made']);
    const { document } = (await findImage(engine.store, 'onzipped')).image;
    const digests = (list: typeof base) => list.map(({ digest }) => digest);
    expect(digests(document.layers.slice(0, -1))).toEqual(digests(base));
    expect(front.takenOver().at(-1)).toBe(base.length);
    expect(document.layers).toHaveLength(base.length + 1);
    await docker(['rmi', '-f', 'zipped']);
    const dockerfile = join(front.daemon.dir, 'OnZipped');
    writeFileSync(dockerfile, 'FROM onzipped\nRUN read x < /made && echo $x > /again\n');
    await docker(['build', '-q', '--no-cache', '-t', 'again', '-f', dockerfile, context]);
    expect(await run('--rm', 'again', 'sh', '-c', 'read x < /again; echo $x')).toBe('made');
    await docker(['rmi', 'again', 'onzipped']);
  });

  test('an image that only the engine has is listed, looked at, run, tagged, saved and pruned', async () => {
    const direct = (...args: string[]) => docker(['-H', front.dockerd.host, ...args]);
    const tar = join(front.daemon.dir, 'tree.tar');
    execFileSync('tar', ['-cf', tar, '-C', context, 'busybox']);
    const id = await direct('import', '-c', 'CMD ["/busybox","echo","pulled before"]', tar, 'before:1');
    await direct('tag', 'one', 'alias:1');
    const count = Number(await docker(['info', '--format', '{{.Images}}']));
    const names = (await docker(['images', '--format', '{{.Repository}}:{{.Tag}}'])).split('\n');
    expect(names).toEqual(expect.arrayContaining(['before:1', 'alias:1', 'one:latest']));
    expect(names.filter((name) => name === 'one:latest')).toHaveLength(1);
    expect(await docker(['images', '-q', '--no-trunc', '--filter', 'reference=before'])).toBe(id);
    expect(await docker(['inspect', '--format', '{{.Id}}', 'before:1'])).toBe(id);
    expect(await docker(['history', '-q', '--no-trunc', 'before:1'])).toBe(id);
    expect(await run('--rm', 'before:1')).toBe('pulled before');
    const usage = JSON.parse(
      await docker(['system', 'df', '--format', '{{json .}}']).then((t) => t.split('\n')[0] ?? ''),
    );
    expect(Number(usage.TotalCount)).toBe(count);
    // It is here from then on, with both names.
    await docker(['tag', 'before:1', 'mine:1']);
    expect(await isHere(front.daemon.engine.store, 'before:1')).toBe(true);
    expect(await docker(['images', '-q', '--no-trunc', 'mine'])).toBe(id);
    await docker(['save', '-o', join(front.daemon.dir, 'alias.tar'), 'alias:1', 'one']);
    await docker(['rmi', 'mine:1', 'before:1', 'alias:1']);
    await expect(docker(['inspect', 'before:1'])).rejects.toThrow('No such object: before:1');
    await direct('import', '-c', 'LABEL pruned=yes', tar, 'before:2');
    expect(await docker(['image', 'prune', '-af', '--filter', 'label=pruned=yes'])).toContain('before:2');
    expect(await direct('images', '-q', 'before')).toBe('');
    await expect(docker(['inspect', 'before:2'])).rejects.toThrow('No such object');
  });

  test('an image that only the engine has is removed there', async () => {
    const direct = (...args: string[]) => docker(['-H', front.dockerd.host, ...args]);
    await direct('tag', 'one', 'elsewhere:1');
    await docker(['rmi', 'elsewhere:1']);
    expect(await direct('images', '-q', 'elsewhere')).toBe('');
    await expect(docker(['rmi', 'elsewhere:1'])).rejects.toThrow('No such image: elsewhere:1');
  });

  test('what is pruned goes at the engine, too, but for what a container uses', async () => {
    const direct = (...args: string[]) => docker(['-H', front.dockerd.host, ...args]);
    const old = join(front.daemon.dir, 'Old');
    const made: string[] = [];
    // Each build takes the name from the one before, as they do all day.
    for (const word of ['first', 'second', 'third']) {
      writeFileSync(old, `FROM one\nLABEL word=${word}\n`);
      made.push(await docker(['build', '-q', '-t', 'old', '-f', old, context]));
      await run('--name', word, 'old', 'sh', '-c', 'true');
      if (word !== 'second') await docker(['rm', word]);
    }
    const [first = '', second = ''] = made;
    const there = () => direct('images', '-q', '--no-trunc', '--filter', 'dangling=true');
    expect((await there()).split('\n').sort()).toEqual([first, second].sort());
    await docker(['image', 'prune', '-f']);
    expect(await there()).toBe(second);
    await docker(['rm', 'second']);
    await docker(['image', 'prune', '-a', '-f', '--filter', 'label=word']);
    expect(await direct('images', '-q', 'old')).toBe('');
    expect(await there()).toBe('');
  });

  test('events of both are one stream; info, df and version tell of both', async () => {
    const format = ['--format', '{{.Type}} {{.Action}}'];
    const events = spawn('/usr/bin/docker', ['-H', front.daemon.host, 'events', ...format]);
    const told: string[] = [];
    createInterface({ input: events.stdout }).on('line', (line) => told.push(line));
    const tells = (line: string) => vi.waitFor(() => expect(told).toContain(line), 10_000);
    // The stream is open when something came by it.
    while (told.length === 0) {
      await docker(['tag', 'one', 'poke:1']);
      await sleep(100);
    }
    await docker(['create', '--name', 'seen', '--network', 'none', 'one', 'sh']);
    expect(await docker(['info', '--format', '{{.Containers}} {{.Images}} {{.Driver}}'])).toMatch(/^1 [1-9]/);
    expect(await docker(['system', 'df', '--format', '{{.Type}} {{.TotalCount}}'])).toContain('Containers 1');
    expect(await docker(['version', '--format', '{{range .Server.Components}}{{.Name}} {{end}}'])).toContain(
      'Engine Docker Engine (behind)',
    );
    await docker(['rm', 'seen']);
    await docker(['rmi', 'poke:1']);
    await docker(['volume', 'create', 'last']);
    await docker(['volume', 'rm', 'last']);
    for (const line of ['container create', 'container destroy', 'image untag', 'volume destroy'])
      await tells(line);
    events.kill();
    // The CLI asks in whole seconds.
    await sleep(1100);
    const past = await docker(['events', '--since', '1m', '--until', '0s', ...format]);
    const order = ['container create', 'container destroy', 'image untag', 'volume create'];
    expect(
      past
        .split('\n')
        .filter((line) => order.includes(line))
        .slice(-4),
    ).toEqual(order);
  });
});
