/** An image of plain LLB that is built from its own inline cache is the very same image: its history is there, too. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { image, marshal, type State, scratch } from '../../src/llb/llb.ts';
import { closePool } from '../../src/workers/pool.ts';
import { ControlKit } from '../api/buildkit/control-kit.ts';
import { imageOf, putImage, tarOf } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

interface Config {
  history: { created?: string; created_by?: string }[];
}

onStores('an image from its own inline cache', (store) => {
  let kit: ControlKit;
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
    kit = await ControlKit.start(store.options());
    const shell = { data: readFileSync('/bin/busybox'), mode: 0o755 };
    await putImage(registry.host, 'shell:1', imageOf([tarOf({ 'bin/sh': shell, 'bin/cat': shell })]));
  });
  afterAll(async () => {
    await kit.daemon.stop();
    await registry.stop();
    await closePool();
  });

  /** A step on the shell's image whose result is what it writes to its working directory. */
  const step = (line: string, before: State) =>
    image(`${registry.host}/shell:1`)
      .run(line, { cwd: '/wd', mounts: [{ target: '/wd', source: before }] })
      .mountOutput('/wd');
  const build = async (state: State, cached: boolean): Promise<{ manifest: string; config: Config }> => {
    const ref = `${registry.host}/app:1`;
    const Imports = cached ? [{ Type: 'registry', Attrs: { ref } }] : [];
    await kit.solve({
      Definition: marshal(state),
      Exporters: [{ Type: 'image', Attrs: { name: ref, push: 'true' } }],
      Cache: { Exports: [{ Type: 'inline', Attrs: {} }], Imports },
    });
    const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
    const manifest = await (await fetch(`http://${registry.host}/v2/app/manifests/1`, { headers })).text();
    const { digest } = (JSON.parse(manifest) as { config: { digest: string } }).config;
    const config = await (await fetch(`http://${registry.host}/v2/app/blobs/${digest}`)).json();
    return { manifest, config: config as Config };
  };
  const prune = async () => {
    for await (const _ of kit.control.prune({ all: true }));
  };

  test('to the byte; and a step on top keeps what is below', async () => {
    const unique = step('cat /proc/sys/kernel/random/uuid > unique', step('echo > const', scratch()));
    const { manifest, config } = await build(unique, false);
    expect(config.history.map(({ created_by }) => created_by)).toEqual([
      expect.stringContaining('echo > const'),
      expect.stringContaining('random/uuid'),
    ]);
    await prune();
    expect((await build(unique, true)).manifest).toBe(manifest);
    await prune();
    const more = await build(step('cat unique > copy', unique), true);
    expect(more.config.history.slice(0, 2)).toEqual(config.history);
  });
});
