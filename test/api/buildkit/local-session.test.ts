/** Folders that another session of the same client offers: `local-sessionid:NAME` of dockerfile.v0. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { closePool } from '../../../src/workers/pool.ts';
import { ControlKit, failure } from './control-kit.ts';

let kit: ControlKit;
beforeAll(async () => {
  kit = await ControlKit.start({});
});
afterAll(async () => {
  await kit.daemon.stop();
  await closePool();
});

const text = 'FROM scratch AS base\nFROM scratch\nCOPY out /out1\nCOPY --from=base /another /out2\n';

test('context, Dockerfile and named contexts come from the session that is named', async () => {
  const dir = kit.folder({});
  const other = kit.session({
    dirs: {
      dockerfile: kit.folder({ Dockerfile: text }),
      context: kit.folder({ out: 'one', '.dockerignore': 'nothing' }),
      basedir: kit.folder({ another: 'two' }),
    },
  });
  try {
    const named = ['dockerfile', 'context', 'basedir'].map((name) => [`local-sessionid:${name}`, other.id]);
    const request = {
      Frontend: 'dockerfile.v0',
      FrontendAttrs: { 'context:base': 'local:basedir', ...Object.fromEntries(named) },
      Exporters: [{ Type: 'local', Attrs: {} }],
    };
    // The build's own session has the output, and no folders.
    await kit.solve(request, { outputs: { 0: { dir } } });
    expect(['out1', 'out2'].map((name) => readFileSync(join(dir, name), 'utf8'))).toEqual(['one', 'two']);
  } finally {
    other.close();
  }
});

test('a session that is not there is told of', async () => {
  const request = { Frontend: 'dockerfile.v0', FrontendAttrs: { 'local-sessionid:dockerfile': 'gone' } };
  expect((await failure(kit.solve(request, {}))).rawMessage).toContain('its session gone is not connected');
});
