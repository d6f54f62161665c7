import { describe, expect, test } from 'vitest';
import { createLog } from '../../src/daemon/log.ts';
import { daemonConfig, parseSettings, settingsFromEnv } from '../../src/daemon/settings.ts';

describe('settings', () => {
  test('come from flags, then variables, then the file', () => {
    const file = parseSettings(
      '{"group": "file", "log-level": "warn", "host": "fd://", "tls-cert": "c.pem", "tls-key": "k.pem", "shutdown-timeout": 5}',
      '/etc/drydock/daemon.json',
    );
    const env = settingsFromEnv({ DRYDOCK_GROUP: 'env', DRYDOCK_HOST: 'fd://a,/b.sock', DRYDOCK_ROOT: '' });
    expect(daemonConfig([{ group: 'flag' }, env, file.settings], '/root')).toMatchObject({
      root: '/root',
      group: 'flag',
      hosts: ['fd://a', '/b.sock'],
      logLevel: 'warn',
      tls: { cert: '/etc/drydock/c.pem', key: '/etc/drydock/k.pem' },
      shutdownTimeout: 5_000,
    });
  });
  test('an unknown name in the file is an error with its place and the nearest name', () => {
    expect(() => parseSettings('{\n  "hsot": []\n}', 'd.json')).toThrow(
      'd.json:2:3: there is no setting "hsot" (did you mean "host"?)',
    );
    expect(() => parseSettings('{"insecure-tcp": "yes"}', 'd.json')).toThrow(/is true or false/);
    expect(() => parseSettings('{"host": [1]}', 'd.json')).toThrow(/"host" wants text/);
  });
  test('half a TLS key pair, an unknown level and no duration are mistakes', () => {
    expect(() => daemonConfig([{ 'tls-cert': 'c' }], '/r')).toThrow(/both a certificate and its key/);
    expect(() => daemonConfig([{ 'log-level': 'wran' }], '/r')).toThrow(/invalid log-level/);
    expect(() => daemonConfig([{ 'shutdown-timeout': 'soon' }], '/r')).toThrow(/want seconds/);
    expect(() => daemonConfig([{ 'step-pids': 'many' }], '/r')).toThrow(
      'invalid step-pids "many": want a number from 0 to 4194304',
    );
    expect(() => daemonConfig([{ 'step-oom-score': '1001' }], '/r')).toThrow(/from 0 to 1000/);
    expect(daemonConfig([{ 'step-pids': '0', 'step-oom-score': '900' }], '/r')).toMatchObject({
      stepPids: 0,
      stepOomScore: 900,
    });
    expect(() => settingsFromEnv({ DRYDOCK_INSECURE_TCP: 'maybe' })).toThrow(/want true or false/);
  });
});

describe("dockerd's daemon.json", () => {
  const read = (value: object) => parseSettings(JSON.stringify(value), '/etc/docker/daemon.json');
  const configOf = (value: object) => daemonConfig([read(value).settings], '/root');

  test('has settings under other names', () => {
    expect(
      configOf({
        hosts: ['unix:///run/a.sock', 'tcp://0.0.0.0:2376'],
        tlsverify: true,
        tlscacert: '/certs/ca.pem',
        tlscert: '/certs/cert.pem',
        tlskey: 'key.pem',
        'data-root': '/data/docker/',
        'insecure-registries': ['10.0.0.0/8'],
        'registry-mirrors': ['https://mirror.example'],
        'cdi-spec-dirs': ['/cdi'],
        'storage-driver': 'overlay2',
        'default-ulimits': { nofile: { Name: 'nofile', Hard: 64000, Soft: 1024 } },
        features: { 'containerd-snapshotter': true, buildkit: true },
        'default-runtime': 'mine',
        runtimes: { mine: { path: '/usr/bin/mine' } },
        'shutdown-timeout': 20,
        group: 'docker',
        'default-shm-size': '128M',
        'max-concurrent-downloads': 7,
        'max-concurrent-uploads': 2,
        'max-download-attempts': 9,
      }),
    ).toMatchObject({
      hosts: ['unix:///run/a.sock', 'tcp://0.0.0.0:2376'],
      tls: {
        ca: '/certs/ca.pem',
        cert: '/certs/cert.pem',
        key: '/etc/docker/key.pem',
        requireCertificate: true,
      },
      root: '/data/docker/drydock',
      insecureRegistries: ['10.0.0.0/8'],
      registryMirrors: { 'docker.io': ['https://mirror.example'] },
      snapshotter: 'overlayfs',
      imageStore: 'containerd',
      runtime: '/usr/bin/mine',
      shutdownTimeout: 20_000,
      group: 'docker',
      stepUlimits: [{ name: 'nofile', soft: 1024, hard: 64000 }],
      stepShmSize: 128 << 20,
      maxConcurrentDownloads: 7,
      maxConcurrentUploads: 2,
      maxDownloadAttempts: 9,
    });
    expect(configOf({ debug: true })).toMatchObject({ logLevel: 'debug' });
    expect(configOf({ debug: false, 'log-level': 'warn' })).toMatchObject({ logLevel: 'warn' });
    expect(configOf({ 'default-runtime': 'runc' })).toMatchObject({ runtime: 'runc' });
  });

  test('says how the cache is collected, and what builds may', () => {
    const builder = (value: object) => read({ builder: value }).docker;
    expect(builder({ gc: { enabled: false } }).gc).toEqual([]);
    expect(builder({ gc: { enabled: true } }).gc).toBeUndefined();
    expect(builder({ gc: { defaultKeepStorage: '20GB' } }).gc?.at(-1)).toMatchObject({
      all: true,
      reservedSpace: 20 * 2 ** 30,
    });
    const policy = [
      { keepStorage: '512MB', filter: ['unused-for=48h', 'type=source.local'] },
      { reservedSpace: '10%', maxUsedSpace: 1000, all: true },
    ];
    expect(builder({ gc: { enabled: true, policy } }).gc).toEqual([
      { reservedSpace: 512 * 2 ** 20, unusedFor: 48 * 3_600_000, filters: ['type==source.local'] },
      { reservedSpace: { percent: 10 }, maxUsedSpace: 1000, all: true },
    ]);
    expect(
      builder({ entitlements: { 'network-host': true, 'security-insecure': false } }).entitlements,
    ).toEqual(['network.host']);
    expect(builder({ history: { maxEntries: 7, maxAge: '1h' } }).history).toEqual({
      maxEntries: 7,
      maxAge: 3_600_000,
    });
    const { docker } = read({
      dns: ['9.9.9.9'],
      'dns-search': ['corp'],
      proxies: { 'http-proxy': 'http://p:1', 'no-proxy': 'corp' },
      'cgroup-parent': 'builds',
      'min-api-version': '1.44',
      experimental: true,
    });
    expect(docker).toEqual({
      dns: { nameservers: ['9.9.9.9'], options: [], searchDomains: ['corp'] },
      proxies: { HTTP_PROXY: 'http://p:1', NO_PROXY: 'corp' },
      cgroupParent: 'builds',
      minApiVersion: '1.44',
      experimental: true,
      warnings: [],
    });
  });

  test('may have names of containers, which are told to do nothing; what would be let pass unseen is refused', () => {
    const { docker, settings } = read({ 'log-driver': 'journald', 'live-restore': true, bip: '10.1.0.1/24' });
    expect(settings).toEqual({});
    expect(docker.warnings).toHaveLength(3);
    expect(docker.warnings[0]).toContain('"log-driver"');
    for (const [value, words] of [
      [{ 'authorization-plugins': ['x'] }, /"authorization-plugins" .* not obeyed: .*policy/],
      [{ builder: { gc: { keep: 1 } } }, /no setting "builder.gc.keep"/],
      [{ builder: { entitlements: { network: true } } }, /no entitlement "network"/],
      [{ builder: { entitlements: { constructor: true } } }, /no entitlement "constructor"/],
      [{ proxies: { constructor: 'x' } }, /no proxy "constructor"/],
      [{ hosts: 'unix:///x' }, /daemon.json:1:10: this wants a list/],
      [{ 'min-api-version': 'new' }, /version such as/],
      [{ builder: { gc: { policy: [{ keepStorage: 'much' }] } } }, /no amount of space/],
      [{ proxies: { 'ftp-proxy': 'x' } }, /no proxy "ftp-proxy"/],
    ] as const) {
      expect(() => read(value)).toThrow(words);
    }
  });
});

/** All names of dockerd 28's file (`dockerd --validate` takes no others), with what Drydock does of each. */
const obeyed: Record<string, unknown> = {
  ...{
    builder: { gc: { enabled: true } },
    'cdi-spec-dirs': ['/cdi'],
    'cgroup-parent': 'x',
    containerd: '/c.sock',
  },
  ...{ 'containerd-namespace': 'x', 'data-root': '/d', debug: true, 'default-runtime': 'runc' },
  ...{ 'default-shm-size': '1m', 'default-ulimits': { nofile: { Name: 'nofile', Hard: 2, Soft: 1 } } },
  ...{ dns: ['9.9.9.9'], 'dns-opts': ['ndots:2'], 'dns-search': ['corp'], experimental: true },
  ...{
    features: { 'containerd-snapshotter': true },
    group: 'g',
    hosts: ['fd://'],
    'insecure-registries': ['h'],
  },
  ...{
    'log-format': 'json',
    'log-level': 'warn',
    'max-concurrent-downloads': 1,
    'max-concurrent-uploads': 1,
  },
  ...{ 'max-download-attempts': 1, 'metrics-addr': '127.0.0.1:1', 'min-api-version': '1.44', proxies: {} },
  ...{ 'registry-mirrors': ['https://m'], runtimes: { r: { path: '/r' } }, 'seccomp-profile': 'unconfined' },
  ...{
    'selinux-enabled': true,
    'shutdown-timeout': 3,
    'storage-driver': 'vfs',
    tlscacert: '/a',
    tlscert: '/b',
  },
  ...{ 'host-gateway-ip': '192.0.2.7', 'host-gateway-ips': ['192.0.2.7', '2001:db8::7'], mtu: 1400 },
  ...{ tlskey: '/c', tlsverify: true, 'userns-remap': 'default' },
};
const told =
  'allow-direct-routing api-cors-header bip bip6 bridge containerd-plugins-namespace cpu-rt-period cpu-rt-runtime ' +
  'cri-containerd default-address-pools default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode ' +
  'default-network-opts exec-opts exec-root fixed-cidr fixed-cidr-v6 icc init ' +
  'init-path ip ip-forward ip-forward-no-drop ip-masq ip6tables iptables ipv6 labels live-restore log-driver ' +
  'log-opts network-control-plane-mtu network-diagnostic-port no-new-privileges node-generic-resources pidfile ' +
  'raw-logs restart storage-opts swarm-default-advertise-addr tls userland-proxy userland-proxy-path';
const refused: Record<string, unknown> = { 'authorization-plugins': ['x'], rootless: true };

describe("each name of dockerd's file is obeyed, or told, or refused", () => {
  const read = (value: object) => parseSettings(JSON.stringify(value), 'daemon.json');
  test.for(Object.entries(obeyed))('%s is obeyed', ([name, value]) => {
    const { settings, docker } = read({ [name]: value });
    expect(docker.warnings).toEqual([]);
    const { warnings: _, ...said } = docker;
    // `enabled` alone leaves the policy as it is.
    if (name !== 'builder') expect(Object.keys({ ...settings, ...said })).not.toEqual([]);
  });
  test.for(told.split(' '))('%s is told to do nothing', (name) => {
    expect(read({ [name]: 'x' })).toMatchObject({
      settings: {},
      docker: { warnings: [`"${name}" of dockerd's settings has no effect here`] },
    });
  });
  test.for(Object.entries(refused))('%s is refused, unless it is off', ([name, value]) => {
    expect(() => read({ [name]: value })).toThrow(`"${name}" of dockerd's settings is not obeyed`);
    expect(read({ [name]: Array.isArray(value) ? [] : false }).docker.warnings).toEqual([]);
  });
  test('flags of dockerd that are no names of its file are refused with the name', () => {
    expect(() => read({ 'dns-opt': ['x'] })).toThrow('no setting "dns-opt" (did you mean "dns-opts"?)');
    expect(() => read({ 'default-ulimit': [] })).toThrow('did you mean "default-ulimits"?');
  });
  test('parts of features and runtimes are told by their names', () => {
    const { docker } = read({
      features: { 'time-namespaces': true },
      runtimes: { r: { path: '/r', runtimeArgs: [] } },
    });
    expect(docker.warnings).toEqual([
      expect.stringContaining('"features.time-namespaces"'),
      expect.stringContaining('"runtimes.r.runtimeArgs"'),
    ]);
  });
});

describe('the log', () => {
  const lines: string[] = [];
  const log = (format: 'text' | 'json') =>
    createLog({ format, level: 'info', write: (line) => void lines.push(line) });
  test('is one line an event, whatever is in it', () => {
    log('text')('warn', 'two\nlines', { path: '/a b', n: 1, none: undefined });
    expect(lines.pop()).toMatch(/^\S+Z WARN {2}two\\nlines path="\/a b" n=1\n$/);
    log('json')('error', 'two\nlines', { n: 1 });
    expect(JSON.parse(lines.pop() ?? '')).toMatchObject({ level: 'error', message: 'two\nlines', n: 1 });
  });
  test('leaves out what is below its level', () => {
    log('text')('debug', 'nothing');
    expect(lines).toEqual([]);
  });
});
