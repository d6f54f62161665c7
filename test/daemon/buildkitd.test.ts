/** `drydock buildkitd`: buildkitd's flags and its buildkitd.toml. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, describe, expect, test } from 'vitest';
import { buildkitdSetup } from '../../src/daemon/buildkitd.ts';
import type { BuildkitdConfig } from '../../src/daemon/buildkitd-config.ts';
import { readBuildkitdToml } from '../../src/daemon/buildkitd-config.ts';
import { type GcSettings, gcOfFlags, gcRules } from '../../src/daemon/buildkitd-gc.ts';
import { Control } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import { Cli } from '../kit/cli.ts';

const read = (text: string) => readBuildkitdToml(text, 'buildkitd.toml');

describe('buildkitd.toml', () => {
  test('what means something here', () => {
    const { config, warnings } = read(`
      root = "/var/lib/x"
      insecure-entitlements = ["network.host", "security.insecure"]
      [log]
        format = "json"
      [grpc]
        address = ["unix:///run/x.sock", "tcp://0.0.0.0:1234"]
        gid = 5
        [grpc.tls]
          cert = "/c.pem"
          key = "/k.pem"
          ca = "/ca.pem"
      [history]
        maxAge = "36h30m"
        maxEntries = 7
      [worker.oci]
        enabled = false
      [worker.containerd]
        enabled = true
        address = "/run/containerd/containerd.sock"
        namespace = "mine"
        [worker.containerd.labels]
          "foo.bar" = "baz"
      [registry."localhost:5000"]
        http = true
      [registry."docker.io"]
        mirrors = ["localhost:5000", "mirror.example/hub"]
      [registry."mirror.example"]
        ca = ["/mirror-ca.pem"]
        [[registry."mirror.example".keypair]]
          key = "/mirror.key"
          cert = "/mirror.pem"
    `);
    expect(warnings).toEqual([]);
    const { daemon, buildkit } = buildkitdSetup({}, config, '/root');
    expect(daemon).toMatchObject({
      root: '/var/lib/x',
      hosts: ['unix:///run/x.sock', 'tcp://0.0.0.0:1234'],
      group: '5',
      tls: { cert: '/c.pem', key: '/k.pem', ca: '/ca.pem', requireCertificate: true },
      imageStore: 'containerd',
      containerdAddress: '/run/containerd/containerd.sock',
      containerdNamespace: 'mine',
      insecureRegistries: ['localhost:5000'],
      registryMirrors: { 'docker.io': ['localhost:5000', 'mirror.example/hub'] },
      registryCertificates: {
        'mirror.example': {
          ca: ['/mirror-ca.pem'],
          keypairs: [{ key: '/mirror.key', cert: '/mirror.pem' }],
        },
      },
      logFormat: 'json',
    });
    expect(buildkit).toEqual({
      entitlements: ['network.host', 'security.insecure'],
      labels: { 'foo.bar': 'baz' },
      history: { maxAge: 36.5 * 3600 * 1000, maxEntries: 7 },
      frontends: {},
    });
  });

  test('what steps and the cache are held to', () => {
    const { config, warnings } = read(`
      [log]
        level = "trace"
      [dns]
        nameservers = ["10.0.0.1"]
        options = ["edns0"]
        searchDomains = ["example.com"]
      [worker.oci]
        platforms = ["linux/amd64", "linux/arm64"]
        max-parallelism = 3
        binary = "crun"
        defaultCgroupParent = "builds"
        networkMode = "cni"
        cniConfigPath = "/etc/cni/steps.conflist"
        cniBinaryPath = "/opt/cni/bin"
        cniPoolSize = 4
        bridgeSubnet = "10.9.0.0/16"
        rootless = false
        [[worker.oci.gcpolicy]]
          keepDuration = "48h"
          maxUsedSpace = "1GB"
          filters = ["type==source.local"]
        [[worker.oci.gcpolicy]]
          all = true
          reservedSpace = 1024000000
          minFreeSpace = "20%"
      [cdi]
        specDirs = ["/etc/cdi"]
        autoAllowed = ["vendor.com/gpu"]
      [frontend."gateway.v0"]
        allowedRepositories = ["docker/dockerfile"]
    `);
    expect(warnings).toEqual([]);
    const { daemon, buildkit } = buildkitdSetup({}, config, '/root');
    expect(daemon).toMatchObject({
      logLevel: 'debug',
      network: {
        mode: 'cni',
        cni: { configPath: '/etc/cni/steps.conflist', binaryPath: '/opt/cni/bin' },
        poolSize: 4,
        subnets: ['10.9.0.0/16'],
        dns: { nameservers: ['10.0.0.1'], options: ['edns0'], searchDomains: ['example.com'] },
      },
      maxParallelism: 3,
      runtime: 'crun',
      cgroupParent: 'builds',
      cdi: { specDirs: ['/etc/cdi'], autoAllowed: ['vendor.com/gpu'] },
      gc: [
        { unusedFor: 48 * 3_600_000, maxUsedSpace: 2 ** 30, filters: ['type==source.local'] },
        { all: true, reservedSpace: 1024000000, minFreeSpace: { percent: 20 } },
      ],
    });
    expect(buildkit.platforms?.map(({ architecture }) => architecture)).toEqual(['amd64', 'arm64']);
    expect(buildkit.frontends).toEqual({ 'gateway.v0': { allowedRepositories: ['docker/dockerfile'] } });
  });

  test('no collection at all, and limits that stand in the place of buildkitd’s own', () => {
    const policy = (text: string, flags: GcSettings = {}) =>
      gcRules(flags, read(`[worker.oci]\n${text}`).config.oci?.gc);
    expect(policy('gc = false')).toEqual([]);
    expect(policy('')).toBeUndefined();
    expect(policy('maxUsedSpace = "10%"')?.at(-1)).toEqual({
      all: true,
      reservedSpace: undefined,
      maxUsedSpace: { percent: 10 },
      minFreeSpace: undefined,
    });
    expect(policy('gckeepstorage = 9000')).toHaveLength(4);
    const flags = gcOfFlags(undefined, '2000,1');
    const limits = { reservedSpace: 2e9, minFreeSpace: 1e6, maxUsedSpace: undefined };
    expect(policy('gckeepstorage = 9000', flags)?.at(-1)).toEqual({ all: true, ...limits });
    // The file's own rules stand beside a flag for the ready-made ones; the flag for the whole is the flag's.
    expect(policy('[[worker.oci.gcpolicy]]\nall = true', flags)).toMatchObject([{ all: true }]);
    expect(policy('gc = false', flags)).toEqual([]);
    expect(policy('gc = false', gcOfFlags(true, '2000'))).toHaveLength(4);
    expect(policy('gckeepstorage = 9000', gcOfFlags(false, undefined))).toEqual([]);
  });

  test.each([
    ['debgu = true', 'buildkitd.toml: unknown key debgu: did you mean debug?'],
    [
      '[worker.oci]\nenabeld = true',
      'buildkitd.toml: unknown key worker.oci.enabeld: did you mean worker.oci.enabled?',
    ],
    [
      '[registry."a.b"]\nhtpp = true',
      'buildkitd.toml: unknown key registry."a.b".htpp: did you mean registry."a.b".http?',
    ],
    ['[otel]\nsocketPath = "/x"', 'buildkitd.toml: otel.socketPath has no effect here'],
    [
      '[worker.oci]\nbridgeName = "build0"',
      'buildkitd.toml: worker.oci.bridgeName = "build0" has no effect here: each step has a link of its own, and there is no bridge',
    ],
    [
      '[[worker.oci.gcpolicy]]\nkeepDuratio = 1',
      'buildkitd.toml: unknown key worker.oci.gcpolicy.keepDuratio: did you mean worker.oci.gcpolicy.keepDuration?',
    ],
    ['[quux]\nx = 1', 'buildkitd.toml: unknown key quux'],
  ])('%j is a warning', (text, warning) => {
    expect(read(text).warnings).toEqual([warning]);
  });

  /** What confines steps or checks what comes from outside must not be missing in silence. */
  test.each([
    'cache.gha.verify.required = true',
    'cache.gha.sign.command = ["cosign"]',
    'ghacache.verify.required = true',
    'ghacache.sign.command = ["cosign"]',
    'worker.oci.userRemapUnsupported = "me:me"',
    'worker.containerd.runtime.name = "io.containerd.runsc.v1"',
  ])('%s is refused', (text) => {
    expect(() => read(text)).toThrow(/^buildkitd\.toml: .* is not obeyed: /);
  });
  test('what asks for nothing else than is done is no fault', () => {
    const text =
      'cache.gha.verify = {}\nghacache.sign.cmd = ""\nghacache.verify.required = false\nghacache.verify.policy.tlogThreshold = 1\nworker.oci.userRemapUnsupported = ""\nworker.containerd.runtime.name = "io.containerd.runc.v2"';
    expect(read(text).warnings).toEqual([]);
  });

  test.each([
    ['debug = ', /buildkitd.toml is no TOML/],
    ['debug = "yes"', /debug must be true or false/],
    ['[grpc]\naddress = "unix:///x"', /grpc.address must be a list of texts/],
    ['[[registry."a".keypair]]\nkey = "/k"', /registry.a.keypair.cert must be text/],
    ['[history]\nmaxAge = "soon"', /history.maxAge must be a duration/],
    ['[worker.oci]\nreservedSpace = "much"', /worker.oci.reservedSpace is no amount of space: "much"/],
    ['[worker.oci]\nnetworkMode = "birdge"', /worker.oci.networkMode "birdge": want auto, bridge/],
    ['[worker.oci]\nbridgeSubnet = "10.9.0.0"', /worker.oci.bridgeSubnet: 10.9.0.0 must have a prefix/],
    ['[worker.oci]\ngcpolicy = 1', /worker.oci.gcpolicy must be a list of tables/],
    ['[worker]\noci = [1]', /worker.oci must be a table/],
    ['registry = "docker.io"', /registry must be a table/],
    ['[log]\nformat = "xml"', /log.format must be text or json/],
    ['[log]\nlevel = "loud"', /log.level must be panic or fatal or error/],
    ['[history]\nmaxEntries = -5', /history.maxEntries must be a number from 0 on/],
    ['[history]\nmaxAge = -1', /history.maxAge must be a duration/],
    ['[grpc]\ngid = 1.5', /grpc.gid must be a whole number/],
  ])('%j is an error', (text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});

describe('flags', () => {
  test('win over the file; the default address is buildkitd’s', () => {
    const file = read('insecure-entitlements = ["security.insecure"]\ndebug = true').config;
    const { daemon, buildkit } = buildkitdSetup(
      { entitlements: ['network.host'], debug: false },
      file,
      '/root',
    );
    expect(buildkit.entitlements).toEqual(['network.host']);
    expect(daemon).toMatchObject({
      root: '/root',
      hosts: ['unix:///run/buildkit/buildkitd.sock'],
      imageStore: 'local',
      logLevel: 'info',
    });
  });

  test('the workers', () => {
    const store = (oci?: boolean, containerd?: boolean) =>
      buildkitdSetup({ oci: { enabled: oci }, containerd: { enabled: containerd } }, {}, '/root').daemon
        .imageStore;
    expect(store()).toBe('local');
    expect(store(true, true)).toBe('local');
    expect(store(false, true)).toBe('containerd');
    expect(store(undefined, true)).toBe('containerd');
    expect(() => store(false, false)).toThrow('no worker found');
  });

  test.each([
    [{ entitlements: ['network.hots'] }, 'invalid entitlement "network.hots"'],
    [{ tls: { cert: '/c' } }, 'you must specify key and cert file'],
    [{ oci: { snapshotter: 'zfs' } }, 'unknown snapshotter: "zfs"'],
  ])('%j is refused', (flags, message) => {
    expect(() => buildkitdSetup(flags, {}, '/root')).toThrow(message);
  });
});

describe('the command', () => {
  const cli = new Cli();
  afterAll(() => cli.close());

  test.runIf(process.getuid?.() === 0)(
    'root is refused to be rootless, by each name of the flag',
    async () => {
      for (const flag of ['--rootless', '--oci-worker-rootless', '--containerd-worker-rootless']) {
        const { code, stderr } = await cli.run(['buildkitd', '--root', join(cli.dir, 'rootless'), flag]);
        expect([flag, code, stderr]).toEqual([flag, 1, expect.stringContaining('Start it as that user')]);
      }
    },
  );

  test('serves until it is told to stop, and leaves no socket', async () => {
    const socket = join(cli.dir, 'run/buildkitd.sock');
    const child = spawn(
      join(import.meta.dirname, '../../drydock'),
      [
        'buildkitd',
        ...['--root', join(cli.dir, 'state'), '--addr', `unix://${socket}`, '--debug'],
        ...['--oci-worker=true', '--containerd-worker=false', '--oci-worker-gc=false'],
        ...['--oci-worker-labels=org.mobyproject.buildkit.worker.sandbox=true', '--debugaddr', '127.0.0.1:0'],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let log = '';
    child.stderr.setEncoding('utf8');
    for await (const text of child.stderr.iterator({ destroyOnReturn: false })) {
      log += text;
      if (log.includes('is ready')) break;
    }
    child.stderr.resume();
    const client = createClient(
      Control,
      createGrpcTransport({
        baseUrl: 'http://localhost',
        nodeOptions: { createConnection: () => dial(socket) },
      }),
    );
    const [worker] = (await client.listWorkers({})).record;
    expect(worker?.Labels['org.mobyproject.buildkit.worker.sandbox']).toBe('true');
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(log)?.[0];
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^drydock_builds_running 0$/m);
    expect(await (await fetch(`${url}/debug/vars`)).json()).toHaveProperty('memstats');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect(existsSync(socket)).toBe(false);
  });
});

test('--log-level wins over the file, and --debug over both', () => {
  const levelOf = (flags: BuildkitdConfig) =>
    buildkitdSetup(flags, { logLevel: 'warn' }, '/root').daemon.logLevel;
  expect([levelOf({}), levelOf({ logLevel: 'error' }), levelOf({ logLevel: 'error', debug: true })]).toEqual([
    'warn',
    'error',
    'debug',
  ]);
});

test('all keys of buildkitd 0.32 are known: each is obeyed, or named as one without effect; others are refused above', () => {
  const gc = `gc = true\ngckeepstorage = 1\nreservedSpace = 1\nmaxUsedSpace = 1\nminFreeSpace = 1\n`;
  const network = `networkMode = "host"\ncniConfigPath = "/c"\ncniBinaryPath = "/b"\ncniPoolSize = 1\nbridgeName = "b"\nbridgeSubnet = "10.9.0.0/16"\n`;
  const both = `labels = { a = "b" }\nplatforms = ["linux/amd64"]\nsnapshotter = "overlayfs"\nrootless = false\ndefaultCgroupParent = "p"\napparmor-profile = "a"\nselinux = false\nmax-parallelism = 2\n${gc}${network}`;
  const policy = (worker: string) =>
    `[[worker.${worker}.gcpolicy]]\nall = true\nfilters = []\nkeepDuration = "1h"\nkeepBytes = 1\nreservedSpace = 1\nmaxUsedSpace = 1\nminFreeSpace = 1\n`;
  const { warnings } = read(`debug = false
trace = true
root = "/r"
insecure-entitlements = []
proxyNetwork = false
provenanceEnvDir = "/p"
[log]
format = "json"
level = "info"
[grpc]
address = ["unix:///x"]
debugAddress = "127.0.0.1:1"
uid = 1
gid = 1
securityDescriptor = "s"
tls = { cert = "c", key = "k", ca = "a" }
[otel]
socketPath = "/s"
[cdi]
disabled = true
specDirs = ["/d"]
autoAllowed = ["a"]
[dns]
nameservers = ["9.9.9.9"]
options = []
searchDomains = []
[history]
maxAge = "1h"
maxEntries = 1
[system]
platformsCacheMaxAge = "1h"
maxRegistryConcurrency = 1
[frontend."dockerfile.v0"]
enabled = true
[frontend."gateway.v0"]
enabled = true
allowedRepositories = []
[registry."a.b"]
mirrors = ["m.b"]
http = true
insecure = true
[cache.gha]
sign = {}
verify = {}
[worker.oci]
enabled = true
noProcessSandbox = false
userRemapUnsupported = ""
binary = "runc"
proxySnapshotterPath = "/s"
stargzSnapshotter = { x = 1 }
${both}${policy('oci')}
[worker.containerd]
enabled = false
address = "/a"
namespace = "n"
runtime = { name = "io.containerd.runc.v2", path = "p", options = { o = 1 } }
${both}${policy('containerd')}`);
  expect(warnings.filter((text) => text.includes('unknown key'))).toEqual([]);
  expect(read('trace = true').config.debug).toBe(true);
  const named = warnings.map((text) => /buildkitd\.toml: (\S+)/.exec(text)?.[1]);
  expect([...new Set(named)].sort()).toEqual([
    ...['grpc.securityDescriptor', 'grpc.uid', 'otel.socketPath'],
    ...['system.maxRegistryConcurrency', 'system.platformsCacheMaxAge', 'worker.containerd.bridgeName'],
    ...['options.o', 'path'].map((name) => `worker.containerd.runtime.${name}`),
    ...['bridgeName', 'proxySnapshotterPath', 'stargzSnapshotter.x'].map((name) => `worker.oci.${name}`),
  ]);
});
