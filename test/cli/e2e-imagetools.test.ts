/** `drydock imagetools`, between two real registries. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

let cli: Cli;
let here: TestRegistry;
let there: TestRegistry;

beforeAll(async () => {
  [here, there] = await Promise.all([
    startRegistry(),
    startRegistry({ basic: { username: 'me', password: 'secret' } }),
  ]);
  cli = new Cli();
  const context = cli.files('context', { Dockerfile: 'FROM scratch\nENV A=1\nCOPY f /\n', f: 'text' });
  const platforms = ['--platform', 'linux/amd64,linux/arm64', '--provenance', 'true', '--sbom', 'true'];
  await cli.ok(['build', '-q', ...platforms, '-t', `${here.host}/app:both`, '--push', context]);
  await cli.ok(['build', '-q', '--platform', 'linux/amd64', '-t', `${here.host}/app:one`, '--push', context]);
});
afterAll(async () => {
  cli?.close();
  await Promise.all([here?.stop(), there?.stop()]);
});

const imagetools = (...args: string[]) => cli.run(['imagetools', ...args]);
const shown = async (name: string, format: string) =>
  (await cli.ok(['imagetools', 'inspect', name, '--format', format])).stdout.trimEnd();

test('inspect tells what a registry has', async () => {
  const both = `${here.host}/app:both`;
  const { stdout } = await imagetools('inspect', both);
  expect(stdout).toContain(`Name:      ${both}\nMediaType: application/vnd.oci.image.index.v1+json\n`);
  expect(stdout).toMatch(/ {2}Platform: {4}linux\/arm64\n/);
  expect(stdout).toContain('vnd.docker.reference.type:   attestation-manifest\n');
  expect(await shown(both, '{{(index .Image "linux/arm64").Architecture}} {{len .Manifest.Manifests}}')).toBe(
    'arm64 4',
  );
  expect(
    await shown(both, '{{range $p, $x := .Provenance}}{{$p}} {{$x.SLSA.buildDefinition.buildType}} {{end}}'),
  ).toMatch(/^linux\/amd64 https:\S+ linux\/arm64 https:\S+$/);
  expect(JSON.parse(await shown(both, '{{json (index .SBOM "linux/amd64")}}'))).toMatchObject({
    SPDX: { spdxVersion: 'SPDX-2.3' },
  });
  expect(await shown(`${here.host}/app:one`, '{{.Image.Config.Env}} {{.SBOM.SPDX}}')).toMatch(
    /A=1\] <no value>$/,
  );
  const raw = await imagetools('inspect', '--raw', both);
  expect(JSON.parse(raw.stdout).manifests).toHaveLength(4);
  const wrong = await imagetools('inspect', `${here.host}/app:both`, '--format', '{{.Nope}}');
  expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('there is no field Nope')]);
  expect((await imagetools('inspect', both, '-t', 'x')).stderr).toContain(
    '--tag is no flag of imagetools inspect',
  );
});

test('create copies into another registry what it lacks, for whom it knows', async () => {
  const target = `${there.host}/deep/copy:1`;
  const create = ['create', '--progress', 'plain', '-t', target, '-t', `${here.host}/other:1`];
  const sources = ['-p', 'linux/arm64', `${here.host}/app:both`];
  const refused = await imagetools(...create, ...sources);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(there.host)]);
  await cli.ok(['login', there.host, '-u', 'me', '--password-stdin'], { input: 'secret' });
  const file = join(cli.dir, 'made.json');
  const made = await cli.ok(['imagetools', ...create, '--metadata-file', file, ...sources]);
  expect(made.stderr).toContain(`to ${target}`);
  const digest = await shown(target, '{{.Manifest.Digest}}');
  expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ 'containerimage.descriptor': { digest } });
  expect(await shown(`${here.host}/other:1`, '{{.Manifest.Digest}}')).toBe(digest);
  await cli.ok(['pull', '--platform', 'linux/arm64', target]);
  expect((await cli.ok(['inspect', '-f', '{{.Architecture}}', target])).stdout).toBe('arm64\n');
});

test('--append adds to what a tag names; --dry-run pushes nothing; annotations are put on the index', async () => {
  const name = `${here.host}/app:grown`;
  const dry = await cli.ok(['imagetools', 'create', '--dry-run', '-t', name, `${here.host}/app:one`]);
  expect(JSON.parse(dry.stdout).manifests).toMatchObject([{ platform: { architecture: 'amd64' } }]);
  const missing = await imagetools('create', '--append', '-t', name, `${here.host}/app:one`);
  expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('404')]);
  await cli.ok(['imagetools', 'create', '-t', name, `${here.host}/app:one`]);
  const arm = JSON.parse(await shown(`${here.host}/app:both`, '{{json (index .Manifest.Manifests 1)}}'));
  const file = cli.files('sources', { 'arm.json': JSON.stringify(arm) });
  const grow = ['imagetools', 'create', '--append', '-t', name, '-f', join(file, 'arm.json')];
  await cli.ok([...grow, '--annotation', 'index:who=me']);
  expect(
    await shown(
      name,
      '{{range .Manifest.Manifests}}{{.Platform.Architecture}} {{end}}{{.Manifest.Annotations.who}}',
    ),
  ).toBe('amd64 arm64 me');
  const refused = await imagetools('create', '--dry-run', '--annotation', 'a=b', name);
  expect(refused.stderr).toContain('annotations of manifests are not supported');
});
