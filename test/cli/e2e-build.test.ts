/** `drydock build` as a user types it: every flag, through the real command. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeCerts } from '../kit/certs.ts';
import { Cli } from '../kit/cli.ts';
import { startRegistry } from '../kit/registry.ts';

let cli: Cli;

beforeAll(async () => {
  cli = new Cli();
  await cli.makeBase();
});
afterAll(() => {
  cli?.close();
});

let count = 0;
/** A context with one Dockerfile. */
const context = (dockerfile: string, files: Record<string, string> = {}) =>
  cli.files(`context${++count}`, { Dockerfile: dockerfile, ...files });
const read = (dir: string, path: string) => readFileSync(join(dir, path), 'utf8');

describe('flags', () => {
  test('-t --label --build-arg --target --platform --iidfile --metadata-file name and shape the image', async () => {
    const dir = context(
      'FROM base AS one\nARG A=0\nARG B\nENV A=$A B=$B\nLABEL l=file\nFROM one\nRUN exit 1\n',
    );
    const [iid, metadata] = [join(cli.dir, 'iid'), join(cli.dir, 'metadata.json')];
    await cli.ok(
      [
        ...[
          'build',
          '-t',
          'n1',
          '--tag=reg.example/n2:v',
          '--label',
          'l=flag',
          '--label',
          'm=1',
          '--target',
          'one',
        ],
        ...['--build-arg', 'A=1', '--build-arg', 'B', '--platform', 'linux/amd64', '--iidfile', iid],
        ...['--metadata-file', metadata, dir],
      ],
      { env: { B: 'env' } },
    );
    const image = await cli.inspect<{
      Id: string;
      RepoTags: string[];
      Config: { Env: string[]; Labels: object };
    }>('n1');
    expect(image.RepoTags.sort()).toEqual(['n1:latest', 'reg.example/n2:v']);
    expect(image.Config.Env).toEqual(['PATH=/bin', 'A=1', 'B=env']);
    expect(image.Config.Labels).toEqual({ l: 'flag', m: '1' });
    expect(readFileSync(iid, 'utf8')).toBe(
      JSON.parse(readFileSync(metadata, 'utf8'))['containerimage.config.digest'],
    );
    expect(JSON.parse(readFileSync(metadata, 'utf8'))).toMatchObject({
      'containerimage.digest': expect.stringMatching(/^sha256:/),
      'image.name': 'docker.io/library/n1:latest,reg.example/n2:v',
    });
  });

  test('--no-cache and --no-cache-filter run steps again, --progress=plain shows which did', async () => {
    const dir = context(
      'FROM base AS a\nRUN echo a$RANDOM > /a\nFROM base AS b\nCOPY --from=a /a /\nRUN echo > /b\n',
    );
    const args = ['build', '--progress=plain', '-o', 'type=cacheonly'];
    const cached = async (...more: string[]) => {
      const { stderr } = await cli.ok([...args, ...more, dir]);
      const numbers = [...stderr.matchAll(/^#(\d+) CACHED$/gm)].map(([, n]) => n);
      return numbers.flatMap((n) => new RegExp(`^#${n} \\[(.*?)\\] (RUN|COPY)`, 'm').exec(stderr)?.[2] ?? []);
    };
    expect(await cached()).toEqual([]);
    expect((await cached()).sort()).toEqual(['COPY', 'RUN', 'RUN']);
    expect(await cached('--no-cache')).toEqual([]);
    expect(await cached('--no-cache-filter', 'b')).toEqual(['RUN']);
  });

  test('--add-host --network --shm-size --ulimit reach RUN steps', async () => {
    const run =
      'grep my.host /etc/hosts; ulimit -n; grep -c : /proc/net/dev; grep -o "/dev/shm .*" /proc/mounts';
    const dir = context(`FROM base\nRUN (${run.replaceAll('grep', 'busybox grep')}) > /o; true\n`);
    const flags = [
      '--add-host',
      'my.host:10.1.2.3',
      '--network=none',
      '--shm-size=3m',
      '--ulimit',
      'nofile=77:88',
    ];
    const out = read(await cli.extract(dir, flags), 'o').split('\n');
    expect(out[0]).toMatch(/^10\.1\.2\.3\s+my\.host$/);
    expect(out[1]).toBe('77');
    expect(out[2]).toBe('1');
    // The last mount is the one that is seen.
    expect(out.filter((line) => line.startsWith('/dev/shm')).at(-1)).toContain('size=3072k');
    const { code, stderr } = await cli.run(['build', '--network', 'wifi', dir]);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/there is no network "wifi" for steps\n.*default, none, host/),
    ]);
  });

  test('--secret from a file and from the environment', async () => {
    const dir = context(`FROM base
RUN --mount=type=secret,id=f cat /run/secrets/f > /f
RUN --mount=type=secret,id=e,env=E echo $E > /e
RUN --mount=type=secret,id=TOKEN,required=true cat /run/secrets/TOKEN > /t
`);
    const file = join(cli.files('secrets', { f: 'from a file' }), 'f');
    const flags = ['--secret', `id=f,src=${file}`, '--secret', 'id=e,env=MINE', '--secret', 'id=TOKEN'];
    const dest = join(cli.dir, 'secret-out');
    await cli.ok(['build', '-q', '-o', dest, ...flags, dir], { env: { MINE: 'mine', TOKEN: 'tok' } });
    expect([read(dest, 'f'), read(dest, 'e'), read(dest, 't')]).toEqual(['from a file', 'mine\n', 'tok']);
    const { code, stderr } = await cli.run(['build', '--secret', 'id=x,src=/no/such', dir]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('/no/such')]);
  });

  test('--ssh default and a key of its own', async () => {
    const dir = context(
      'FROM base\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK\nRUN --mount=type=ssh,id=k test -S $SSH_AUTH_SOCK && echo ok > /o\n',
    );
    const key = join(cli.files('ssh', {}), 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    expect(read(await cli.extract(dir, ['--ssh', `default=${key}`, '--ssh', `k=${key}`]), 'o')).toBe('ok\n');
    const { code, stderr } = await cli.run(['build', '--ssh', `default=${key}.none`, dir]);
    expect([code, stderr]).toEqual([1, expect.stringContaining(`${key}.none`)]);
  });

  test('--build-context: a folder, an image, an OCI layout by tag, a URL', async () => {
    const dir = context('FROM alpine\nCOPY --from=files f /f\nCOPY --from=lay /bin/busybox /b\n');
    const layout = join(cli.dir, 'layout');
    await cli.ok([
      'build',
      '-q',
      '-t',
      'x:v7',
      '-o',
      `type=oci,tar=false,dest=${layout}`,
      context('FROM base\n'),
    ]);
    const files = cli.files('named', { f: 'named' });
    for (const lay of [`oci-layout://${layout}:v7`, `oci-layout://${layout}`, 'docker-image://base']) {
      const flags = ['alpine=docker-image://base', `files=${files}`, `lay=${lay}`];
      const out = await cli.extract(
        dir,
        flags.flatMap((flag) => ['--build-context', flag]),
      );
      expect(read(out, 'f')).toBe('named');
      expect(statSync(join(out, 'b')).size).toBe(statSync(join(out, 'bin/busybox')).size);
    }
    const { code, stderr } = await cli.run([
      ...['build', '--build-context', `alpine=oci-layout://${layout}:v8`],
      ...['--build-context', `files=${files}`, '--build-context', 'lay=docker-image://base', dir],
    ]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('there is no image tagged v8')]);
  });

  test('--build-context: a file over https', async () => {
    const certs = makeCerts(cli.dir, 'web');
    const { cert, key } = certs.issue('server', 'IP:127.0.0.1');
    const tls = { cert: readFileSync(cert), key: readFileSync(key) };
    const web = createServer(tls, (_, res) => void res.end('over TLS'));
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    try {
      const url = `https://127.0.0.1:${(web.address() as AddressInfo).port}/data`;
      const dir = context('FROM scratch\nCOPY --from=web . /\n');
      const args = ['build', '-q', '--build-context', `web=${url}`, dir];
      const dest = join(cli.dir, 'web-out');
      await cli.ok([...args, '-o', dest], { env: { NODE_EXTRA_CA_CERTS: certs.ca } });
      expect(read(dest, 'context')).toBe('over TLS');
      const { code, stderr } = await cli.run([...args, '--no-cache']);
      expect([code, stderr]).toEqual([1, expect.stringMatching(/certificate/)]);
    } finally {
      web.close();
    }
  });

  test('--pull asks the registry for a base image that is here', async () => {
    const registry = await startRegistry();
    try {
      const name = `${registry.host}/team/base:1`;
      const tagged = (text: string) => context(`FROM scratch\nLABEL is=${text}\n`);
      await cli.ok(['build', '-q', '-t', 'older', tagged('older')]);
      await cli.ok(['build', '-q', '-t', name, '--push', tagged('newer')]);
      await cli.ok(['tag', 'older', name]);
      const user = context(`FROM ${name}\n`);
      const label = async (...flags: string[]) => {
        await cli.ok(['build', '-q', '-t', 'user', ...flags, user]);
        const { Config } = await cli.inspect<{ Config: { Labels: Record<string, string> } }>('user');
        return Config.Labels.is;
      };
      expect([await label(), await label('--pull'), await label()]).toEqual(['older', 'newer', 'older']);
      expect([await label('--pull=always'), await label('--pull=missing')]).toEqual(['newer', 'older']);
      expect(await label('--pull=never')).toBe('older');
      await cli.ok(['rmi', name]);
      const { code, stderr } = await cli.run(['build', '--pull=never', user]);
      expect([code, stderr]).toEqual([1, expect.stringContaining(`solve: ${name}: no image ${name} for `)]);
      expect(stderr).toContain(`hint: Pull it before: drydock pull ${name}`);
      expect(await label()).toBe('newer');
      expect((await cli.run(['build', '--pull=perhaps', user])).stderr).toContain(
        'want always, missing or never',
      );
    } finally {
      await registry.stop();
    }
  });

  test('--annotation: in the manifest and the index of what is made here, pushed or not', async () => {
    const dir = context('FROM scratch\nLABEL a=b\n');
    const layout = join(cli.dir, 'annotated');
    const flags = ['--annotation', 'who=me', '--annotation', 'index,manifest[linux/arm64]:org.x:y=1=2'];
    const two = ['--platform', 'linux/amd64,linux/arm64', '-t', 'annotated'];
    await cli.ok(['build', '-q', ...two, ...flags, '--load', '-o', `type=oci,tar=false,dest=${layout}`, dir]);
    const json = (digest: string) => JSON.parse(read(layout, `blobs/${digest.replace(':', '/')}`));
    const index = json(JSON.parse(read(layout, 'index.json')).manifests[0].digest);
    expect(index.annotations).toEqual({ 'org.x:y': '1=2' });
    const manifests = index.manifests.map(({ digest }: { digest: string }) => json(digest).annotations);
    expect(manifests).toEqual([{ who: 'me' }, { who: 'me', 'org.x:y': '1=2' }]);
    // The image in the store is the same one.
    const saved = join(cli.dir, 'annotated.tar');
    await cli.ok(['save', '-o', saved, 'annotated']);
    expect(execFileSync('tar', ['xOf', saved, 'index.json'], { encoding: 'utf8' })).toContain(
      JSON.parse(read(layout, 'index.json')).manifests[0].digest,
    );
    const wrong = await cli.run(['build', '--annotation', 'manifst:a=b', '-o', join(cli.dir, 'no'), dir]);
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('no output makes an image')]);
  });

  test('what a killed build has left of its archive goes with the next one', async () => {
    const folder = cli.files('killed', {});
    const output = ['-o', `type=tar,dest=${join(folder, 'a.tar')}`];
    const large = context('FROM base\nRUN dd if=/dev/zero of=/large bs=1M count=256\n');
    const build = cli.start(['build', ...output, large]);
    while (readdirSync(folder).length === 0 && build.exitCode === null) await sleep(5);
    build.kill('SIGKILL');
    await once(build, 'exit');
    expect(readdirSync(folder)).toEqual([`.a.tar.${build.pid}.part`]);
    await cli.ok(['build', '-q', ...output, context('FROM scratch\nCOPY f /\n', { f: 'f' })]);
    expect(readdirSync(folder)).toEqual(['a.tar']);
  });

  test('--output in all its forms, --load beside them', async () => {
    const dir = context('FROM base AS b\nRUN echo 1 > /one\nFROM scratch\nCOPY --from=b /one /\n');
    const at = (name: string) => join(cli.dir, 'outputs', name);
    const specs = [
      ...[at('folder'), `type=tar,dest=${at('f.tar')}`, `type=oci,dest=${at('oci.tar')},compression=zstd`],
      ...[`type=docker,dest=${at('docker.tar')}`, `type=local,dest=${at('local')}`],
    ];
    await cli.ok(['build', '-q', '-t', 'outs', '--load', ...specs.flatMap((spec) => ['-o', spec]), dir]);
    expect(read(at('folder'), 'one') + read(at('local'), 'one')).toBe('1\n1\n');
    const list = (tar: string) => execFileSync('tar', ['tf', at(tar)], { encoding: 'utf8' });
    expect(list('f.tar')).toBe('one\n');
    expect(list('oci.tar')).toContain('index.json');
    expect(list('docker.tar')).toContain('manifest.json');
    expect((await cli.ok(['images', '-q', 'outs'])).stdout).toMatch(/^[0-9a-f]{12}\n$/);
    const piped = await cli.ok(['build', '-q', '-o', '-', dir]);
    expect(piped.stdout).toContain('one');
    const { code, stderr } = await cli.run(['build', '-o', 'type=ocii,dest=x', dir]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('could not be found')]);
  });

  test('--check reports the checks and fails on findings', async () => {
    const clean = await cli.run(['build', '--check', context('FROM base AS a\nRUN exit 1\n')]);
    expect([clean.code, clean.stdout]).toEqual([0, expect.stringMatching(/no warnings/i)]);
    const { code, stdout } = await cli.run(['build', '--check', context('FROM base as a\nMAINTAINER me\n')]);
    expect(code).toBe(1);
    expect(stdout).toContain('FromAsCasing');
    expect(stdout).toContain('MaintainerDeprecated');
  });

  test('--progress=rawjson prints one JSON object a line; --quiet the image ID', async () => {
    const dir = context('FROM base\nRUN echo hello\n');
    const { stderr } = await cli.ok(['build', '--progress=rawjson', '--no-cache', dir]);
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { logs?: { data: string }[] });
    const logs = lines.flatMap(({ logs = [] }) =>
      logs.map(({ data }) => Buffer.from(data, 'base64').toString()),
    );
    expect(logs.join('')).toContain('hello\n');
    const quiet = await cli.ok(['build', '-q', dir]);
    expect([quiet.stdout, quiet.stderr]).toEqual([expect.stringMatching(/^sha256:\w{64}\n$/), '']);
    const bad = await cli.run(['build', '--progress=plian', dir]);
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('Did you mean plain?')]);
  });

  test("limits of steps: --resource and docker build's own flags", async () => {
    const file =
      'for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do [ -e $f ] && cat $f; done';
    const dir = context(`FROM base\nRUN : 1; ${file}; true\n`);
    const limited = async (...flags: string[]) =>
      (await cli.ok(['build', '--no-cache', '--progress=plain', ...flags, dir])).stderr;
    // A machine without a memory cgroup says so instead.
    const [set, hinted] = [/ 67108864$/m, /no memory cgroup/];
    for (const flags of [['-m', '64m'], ['--memory=64m'], ['--resource', 'memory=64m', '--memory=1g']]) {
      const said = await limited(...flags);
      expect(set.test(said) || hinted.test(said), said).toBe(true);
    }
    const bad = await cli.run(['build', '--resource', 'memroy=1g', dir]);
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('Did you mean memory?')]);
  });

  test('flags that ask for what is not done are refused by name, misspelt ones corrected', async () => {
    const dir = context('FROM base\n');
    for (const flag of [
      '--isolation=hyperv',
      '--security-opt=seccomp=unconfined',
      '--builder=mine',
      '--rm=false',
      '--disable-content-trust=false',
    ]) {
      const refused = await cli.run(['build', flag, dir]);
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(flag.split('=', 1)[0]!)]);
      expect(refused.stderr).toContain('not supported');
    }
    const fine = [
      '--rm',
      '--force-rm',
      '--isolation=default',
      '--builder=default',
      '--disable-content-trust',
    ];
    await cli.ok(['build', '-q', ...fine, '--provenance=false', dir]);
    const bad = await cli.run(['build', '--no-cahce', dir]);
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('--no-cache')]);
  });

  test('--provenance and --attest: how the result came to be, beside it', async () => {
    const dir = context('FROM base\nARG WORD\nRUN echo $WORD > /word\n');
    const out = join(cli.dir, 'stated');
    const statement = async (...flags: string[]) => {
      const args = ['build', '--build-arg=WORD=hello', '-o', `type=local,dest=${out}`, ...flags, dir];
      await cli.ok(args);
      const text = existsSync(join(out, 'provenance.json'))
        ? readFileSync(join(out, 'provenance.json'), 'utf8')
        : undefined;
      rmSync(out, { recursive: true });
      return text === undefined ? undefined : JSON.parse(text);
    };
    expect(await statement()).toBeUndefined();
    expect(await statement('--provenance=false', '--build-arg=BUILDKIT_ATTEST_PROVENANCE=')).toBeUndefined();
    const max = await statement('--provenance=true');
    expect(max.predicateType).toBe('https://slsa.dev/provenance/v1');
    expect(max.predicate.buildDefinition.externalParameters.request.args).toMatchObject({
      'build-arg:WORD': 'hello',
    });
    expect(JSON.stringify(max)).not.toContain(dir);
    const min = await statement('--attest', 'type=provenance,mode=min,version=v0.2,"builder-id=a,b"');
    expect(min.predicate.builder.id).toBe('a,b');
    expect(JSON.stringify(min)).not.toContain('hello');
    const asked = await statement('--build-arg=BUILDKIT_ATTEST_PROVENANCE=mode=min');
    expect(asked.predicate.runDetails.metadata.buildkit_completeness.request).toBe(false);
    const twice = await cli.run(['build', '--provenance=true', '--attest=type=provenance', dir]);
    expect([twice.code, twice.stderr]).toEqual([1, expect.stringContaining('asked for twice')]);
    const bad = await cli.run(['build', '--provenance=mode=mix', dir]);
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('mode=mix cannot be')]);
  });

  test('--sbom and --attest: the packages of the result, beside it', async () => {
    const dir = context('FROM scratch\nCOPY status /var/lib/dpkg/status\n', {
      status: 'Package: a\nVersion: 1.0\nArchitecture: all\n',
    });
    const out = join(cli.dir, 'listed');
    const files = async (...flags: string[]) => {
      await cli.ok(['build', '-o', `type=local,dest=${out}`, ...flags, dir]);
      const found = readdirSync(out);
      rmSync(out, { recursive: true });
      return found.sort();
    };
    expect(await files('--sbom=true', '--provenance=true')).toEqual([
      'provenance.json',
      'sbom.spdx.json',
      'var',
    ]);
    expect(await files('--attest=type=sbom,format=cyclonedx')).toEqual(['sbom.cdx.json', 'var']);
    expect(await files('--build-arg=BUILDKIT_ATTEST_SBOM=')).toEqual(['sbom.spdx.json', 'var']);
    expect(await files('--sbom=false', '--build-arg=BUILDKIT_ATTEST_SBOM=')).toEqual(['var']);
    await cli.ok(['build', '-q', '-t', 'listed', '--sbom=true', '--provenance=mode=min', dir]);
    const { stdout } = await cli.ok(['inspect', '--attestations', 'listed']);
    expect(JSON.parse(stdout)).toMatchObject([
      { PredicateType: 'https://spdx.dev/Document', Statement: { predicate: { spdxVersion: 'SPDX-2.3' } } },
      { PredicateType: 'https://slsa.dev/provenance/v1' },
    ]);
    const wrong = [
      ['--sbom=true --attest=type=sbom', 'the sbom is asked for twice'],
      ['--sbom=format=xml', 'format=xml cannot be'],
      ['--attest=type=sbum', 'Did you mean type=sbom?'],
    ] as const;
    for (const [flags, message] of wrong) {
      const refused = await cli.run(['build', ...flags.split(' '), dir]);
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(message)]);
    }
  });

  test('--cache-to and --cache-from: a folder, and a cache that is not there', async () => {
    const text = `FROM base\nRUN cat /proc/sys/kernel/random/uuid > /id\n`;
    const dir = context(text);
    const cache = join(cli.dir, 'cache');
    await cli.ok(['build', '--no-cache', '--cache-to', `type=local,dest=${cache},mode=max`, dir]);
    await cli.ok(['prune', '--all', '--force']);
    const args = ['build', '--progress=plain', '--cache-from', `type=local,src=${cache}`, dir];
    const { stderr } = await cli.ok(args);
    expect(stderr).toMatch(/^#\d+ importing cache manifest from local:/m);
    expect(stderr).toMatch(/\] RUN cat .*\n#\d+ CACHED$/m);
    // Blobs of earlier exports stay, unless the folder is reset.
    const blobs = () => readdirSync(join(cache, 'blobs/sha256')).length;
    const before = blobs();
    await cli.ok(['build', '--no-cache', '--cache-to', `type=local,dest=${cache},mode=max`, dir]);
    expect(blobs()).toBeGreaterThan(before);
    await cli.ok(['build', '--no-cache', '--cache-to', `type=local,dest=${cache},mode=max,reset=true`, dir]);
    expect(blobs()).toBe(before);
    await cli.ok(['prune', '--all', '--force']);
    expect((await cli.ok(args)).stderr).toMatch(/\] RUN cat .*\n#\d+ CACHED$/m);
    const missing = await cli.ok(['build', '--progress=plain', '--cache-from', '127.0.0.1:1/x', dir]);
    expect(missing.stderr).toMatch(
      /^#\d+ WARN: importing cache from 127.0.0.1:1\/x:latest: .*connection refused; the build goes on without it$/m,
    );
  });

  test('SOURCE_DATE_EPOCH and rewrite-timestamp: two builds, one digest', async () => {
    const dir = context('FROM base\nRUN echo x > /x\nCOPY f /\n', { f: '1' });
    const digest = async () => {
      const file = join(cli.dir, 'repeat.json');
      const output = 'type=image,rewrite-timestamp=true';
      await cli.ok(['build', '--no-cache', '-o', output, '--metadata-file', file, dir], {
        env: { SOURCE_DATE_EPOCH: '1700000000' },
      });
      return JSON.parse(readFileSync(file, 'utf8'))['containerimage.digest'];
    };
    expect(await digest()).toBe(await digest());
  });
});

test('a failing step: its log, the lines of the Dockerfile, the exit code', async () => {
  const { code, stderr } = await cli.run(['build', context('FROM base\nRUN echo why && exit 7\n')]);
  expect(code).toBe(1);
  expect(stderr).toContain('why');
  expect(stderr).toContain('Dockerfile:2');
  expect(stderr).toContain('>>> RUN echo why && exit 7');
  expect(stderr).toContain('exit code: 7');
});
