/** `drydock --host kube://…` and buildctl at pods: a small cluster whose pods are real daemons. */
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { podsFor } from '../../src/kube/choose.ts';
import { podDialer } from '../../src/kube/dialer.ts';
import { Cli } from '../kit/cli.ts';
import { startCluster, type TestCluster } from '../kit/kube/cluster.ts';

// Each connection starts a program in the pod, and a build has several.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

let cli: Cli;
let cluster: TestCluster;
let env: Record<string, string>;
const app = { 'app.kubernetes.io/instance': 'drydock' };
const address = 'kube://default/app.kubernetes.io/instance=drydock';

beforeAll(async () => {
  cli = new Cli();
  cluster = await startCluster();
  env = { KUBECONFIG: cluster.kubeconfig() };
  await Promise.all(['drydock-0', 'drydock-1'].map((name) => cluster.run(name, app)));
});
afterAll(async () => {
  await cluster?.stop();
  cli?.close();
});

function context(): string {
  const dir = cli.files('context', {
    Dockerfile: 'FROM scratch\nCOPY busybox /bin/sh\nRUN echo made > /made\n',
  });
  copyFileSync('/bin/busybox', join(dir, 'busybox'));
  // A file of some size, so that frames are long ones.
  writeFileSync(join(dir, 'large'), Buffer.alloc(3 << 20, 'drydock'));
  return dir;
}

/** The pods in which something was run since the last look. */
function used(): string[] {
  const found = cluster.requests
    .splice(0)
    .flatMap((each) => /^EXEC .*\/pods\/([^/]+)\//.exec(each)?.[1] ?? []);
  return [...new Set(found)];
}

test('a project builds in its own pod, from wherever it is checked out, and finds its cache there', async () => {
  const dir = context();
  const build = async (key: string, ...args: string[]) => {
    const result = await cli.run(['--host', address, 'build', '--progress', 'plain', ...args, dir], {
      env: { ...env, DRYDOCK_KUBE_KEY: key },
    });
    expect(result).toMatchObject({ code: 0 });
    return result;
  };
  used();
  const [own] = podsFor('github.com/you/web', ['drydock-0', 'drydock-1']) as [string];
  await build('github.com/you/web', '-o', 'type=local,dest=out');
  expect(used()).toEqual([own]);
  const again = await build('github.com/you/web', '-o', 'type=local,dest=out');
  expect(again.stderr.match(/CACHED/g)?.length).toBe(2);
  expect(used()).toEqual([own]);
});

test('buildctl at a pod by its name', async () => {
  const args = [
    'buildctl',
    '--addr',
    'kube-pod://drydock-0?namespace=default',
    '--timeout',
    '60',
    'debug',
    'workers',
  ];
  expect(await cli.run(args, { env })).toMatchObject({ code: 0, stdout: expect.stringContaining('linux/') });
});

describe('what goes wrong is told', () => {
  const at = (host: string, own = env) => podDialer(host, () => '', own, new AbortController().signal);
  test.each([
    ['kube-pod://nobody', /pods "nobody" not found/],
    ['kube://default/app=other', /there is no pod with the labels app=other in the namespace default/],
    ['kube://default/app=x?contaner=y', /did you mean container\?/],
    ['kube://default/app=x?context=nowhere', /has no context "nowhere"/],
  ])('%s', async (host, message) => {
    await expect(at(host)).rejects.toThrow(message);
  });
  test('no kubeconfig at all', async () => {
    await expect(at(address, { KUBECONFIG: '/nowhere/config' })).rejects.toThrow(
      /there is no kubeconfig: \/nowhere/,
    );
  });
});

test('a pod that ends is passed over', async () => {
  const [own, other] = podsFor('p', ['drydock-0', 'drydock-1']) as [string, string];
  await cluster.delete(own);
  used();
  const { name } = await podDialer(address, () => 'p', env, new AbortController().signal);
  expect(name).toBe(`${other} (default)`);
  expect(used()).toEqual([other]);
});
