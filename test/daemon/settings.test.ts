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
    expect(daemonConfig([{ group: 'flag' }, env, file], '/root')).toMatchObject({
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
