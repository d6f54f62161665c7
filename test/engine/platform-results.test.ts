/** What frontends say of their results is checked before an image is made of it. */
import { expect, test } from 'vitest';
import { platformResults } from '../../src/engine/bridge/platforms.ts';
import { platformMismatch } from '../../src/engine/bridge/verify-platforms.ts';
import { finishConfig } from '../../src/exporter/config.ts';

const withConfig = async (config: unknown, key = 'containerimage.config') => {
  const [result] = await platformResults({ metadata: { [key]: Buffer.from(JSON.stringify(config)) } });
  return finishConfig(result!.config, [], undefined);
};

test('a config must be one, and say what platform it is for', async () => {
  await expect(withConfig(null)).rejects.toThrow('invalid null image config for export');
  await expect(withConfig([])).rejects.toThrow('invalid image config for export');
  const together = 'invalid image config: os and architecture must be specified together';
  await expect(withConfig({ architecture: 'amd64' })).rejects.toThrow(together);
  await expect(withConfig({ os: 'linux' })).rejects.toThrow(together);
  await expect(withConfig('text')).rejects.toThrow('invalid image config for export');
  // One that says nothing of it is for the platform of its tree.
  expect(await withConfig({})).toMatchObject({ os: 'linux', architecture: expect.any(String) });
  expect(await withConfig({ os: 'linux', architecture: 'arm64' })).toMatchObject({ architecture: 'arm64' });
});

test('without one, the image is as one of plain LLB', async () => {
  const [result] = await platformResults({ metadata: {} });
  expect(result?.config).toMatchObject({ os: 'linux', config: { WorkingDir: '/' } });
});

test('the history of the base is what the frontend says of it, by platform or for all', async () => {
  const base = (created: string) => Buffer.from(JSON.stringify({ history: [{ created }] }));
  const Platforms = ['amd64', 'arm64'].map((architecture) => ({
    ID: architecture,
    Platform: { os: 'linux', architecture },
  }));
  const metadata = {
    'refs.platforms': Buffer.from(JSON.stringify({ Platforms })),
    'containerimage.base.config': base('2001'),
    'containerimage.base.config/arm64': base('2002'),
  };
  const ref = { result: async () => undefined } as never;
  const refs = new Map(Platforms.map(({ ID }) => [ID, ref]));
  const results = await platformResults({ refs, metadata });
  expect(results.map((each) => each.baseHistory)).toEqual([[{ created: '2001' }], [{ created: '2002' }]]);
  for (const odd of ['null', '3', '{}', '{"history":3}']) {
    const [result] = await platformResults({ metadata: { 'containerimage.base.config': Buffer.from(odd) } });
    expect(result?.baseHistory).toBeUndefined();
  }
});

test('platforms that were asked for and made', () => {
  const p = (text: string) => {
    const [os, architecture, variant] = text.split('/') as [string, string, string | undefined];
    return { os, architecture, variant };
  };
  const amd64 = p('linux/amd64');
  const arm64 = p('linux/arm64');
  expect(platformMismatch('linux/amd64', [amd64], false)).toEqual([]);
  expect(platformMismatch('linux/amd64,linux/arm64', [arm64, amd64], true)).toEqual([]);
  const windows = { ...p('windows/amd64'), 'os.version': '10.0.1' };
  expect(platformMismatch('windows/amd64', [windows], false)).toEqual([]);
  expect(platformMismatch('linux/arm64', [amd64], false)).toEqual([
    'Requested platform "linux/arm64" does not match result platform "linux/amd64"',
  ]);
  expect(platformMismatch('linux/amd64,linux/arm64', [amd64], false)).toEqual([
    'Multiple platforms requested but result is not multi-platform',
  ]);
  expect(platformMismatch('linux/amd64,linux/arm/v7', [arm64, amd64], true)).toEqual([
    'Requested platforms linux/amd64,linux/arm/v7 do not match result platforms linux/amd64,linux/arm64',
  ]);
  expect(platformMismatch('linux/amd64,linux/amd64', [amd64], false)).toEqual([
    'Duplicate platform result requested "linux/amd64"',
  ]);
  expect(platformMismatch('a/b/c/d', [amd64], false)[0]).toContain('Invalid platform result requested');
});
