/**
 * Steps of a daemon that take all they can get: processes, memory, the disk, files that are in memory, output. They end
 * with a reason, while the daemon answers and its other builds go on, and nothing of them is left.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { detectCgroups } from '../../src/executor/cgroups.ts';
import { ApiBuilds, shellContext } from '../kit/api-builds.ts';
import { mountDisk, type SmallDisk } from '../kit/small-disk.ts';
import { onStores } from '../kit/stores.ts';

const applets = ['head', 'tr', 'sleep', 'dd', 'mkdir', 'yes', 'cat', 'wc', 'find'];
const { controllers, trees } = detectCgroups();

onStores('a daemon', (store) => {
  let api: ApiBuilds;
  let disk: SmallDisk;
  let root: string;
  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'drydock-hogs-'));
    disk = mountDisk(root, 160);
    api = await ApiBuilds.open(store, { root, stepPids: 120, stepTimeout: 60_000 });
  });
  afterAll(async () => {
    await api.stop();
    disk.remove();
    rmSync(root, { recursive: true });
  });

  let builds = 0;
  /** A build that hogs, with others and other requests beside it. */
  async function beside(step: string, query = '') {
    let isOver = false;
    const hog = api.build(shellContext(`RUN ${step}`, {}, applets), query).finally(() => {
      isOver = true;
    });
    const others: string[] = [];
    do {
      const name = `other-${++builds}`;
      const [ping, other] = await Promise.all([
        api.daemon.ask('GET', '/_ping'),
        api.build(shellContext(`RUN echo ${name}`, {}, applets)),
      ]);
      others.push(`${ping.text} ${other.log.includes(name) ? 'built' : other.error}`);
    } while (!isOver);
    return { ...(await hog), others };
  }
  const fine = (others: string[]) => {
    expect(others.length).toBeGreaterThan(0);
    expect([...new Set(others)]).toEqual(['OK built']);
  };

  test.runIf(controllers.has('pids'))('a fork bomb ends in its own step', async () => {
    const { others, error, log } = await beside(
      'b() { b | b & }; b; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exit 7',
    );
    fine(others);
    expect(error).toContain('exit code: 7');
    expect(log).toMatch(/can't fork|cannot fork/);
  });

  test.runIf(controllers.has('memory'))('a memory hog is told what limit it had', async () => {
    const { others, error } = await beside(
      'x=0123456789abcdef; while :; do x=$x$x; done',
      `memory=${48 << 20}`,
    );
    fine(others);
    expect(error).toContain(
      'cannot allocate memory (the kernel killed a process of it at the memory limit of 48MiB)',
    );
  });

  test('files in memory count as the step’s memory, and go with it', async () => {
    const limited = controllers.has('memory');
    const { others, error } = await beside(
      'head -c 100m /dev/zero > /dev/shm/x || cat /dev/zero > /dev/shm/y; exit 3',
      limited ? `memory=${32 << 20}` : '',
    );
    fine(others);
    expect(error).toMatch(limited ? /cannot allocate memory|exit code: 3/ : /exit code: 3/);
  });

  test('endless output holds up nobody, and the step runs to its end', async () => {
    const { others, error } = await beside('yes all day long | head -c 10000000; echo over; exit 5');
    fine(others);
    expect(error).toContain('exit code: 5');
  });

  // The store makes no difference to the first, and has its own disk in the second.
  if (store.kind === 'local') {
    test('100,000 files in /dev/shm are a step like others', async () => {
      const { others, log } = await beside(
        'cd /dev/shm; d=0; while [ $d -lt 100 ]; do mkdir $d; cd $d; i=0; while [ $i -lt 1000 ]; do : > $i; i=$((i+1)); done; cd ..; d=$((d+1)); done; find . -type f | wc -l',
      );
      fine(others);
      expect(log).toContain('100000');
    });

    test('a step that fills the disk fails with the reason, and gives it back', async () => {
      const before = disk.free();
      const { error, others } = await beside('dd if=/dev/zero of=/big bs=1M; exit $?');
      expect(error).toMatch(/no space left/i);
      expect(error).toMatch(/hint: /);
      // A build beside it may have found no space either, and says so; the daemon answered all along.
      for (const other of others) expect(other).toMatch(/^OK (built|.*no space left)/s);
      // A worker deletes what was moved to the trash, after the build has ended.
      await expect.poll(() => disk.free()).toBeGreaterThan(before - (8 << 20));
      fine([...(await beside('true')).others]);
    });
  }

  test('nothing of any of them is left', async () => {
    expect(await api.leftBehind()).toEqual([]);
    const groups = trees.flatMap((tree) => {
      try {
        return readdirSync(join(tree, 'drydock')).map((name) => join(tree, 'drydock', name));
      } catch {
        return [];
      }
    });
    const own = readdirSync(join(api.daemon.engine.store.root, 'executor')).flatMap(
      (name) => name.match(/^(.*)\.owner$/)?.[1] ?? [],
    );
    expect(groups.filter((group) => own.some((name) => group.includes(name)))).toEqual([]);
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(`${root}/run`);
  });
});
