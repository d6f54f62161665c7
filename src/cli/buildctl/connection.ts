/** The daemon that buildctl's own flags name, and calls of its Control service. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, createClient } from '@connectrpc/connect';
import { defaultAddress } from '../../daemon/index.ts';
import { defaultRoot } from '../../engine/index.ts';
import { canceled, fail } from '../../errors/index.ts';
import { Control } from '../../pb/moby/buildkit/v1/control_pb.js';
import type { FlagTable, FlagValues } from '../flags.ts';
import { type Endpoint, findEndpoint } from '../remote/endpoint.ts';
import { failureOf } from '../remote/failure.ts';
import { grpcTo } from '../remote/grpc.ts';

/** The flags that come before buildctl's command. */
export const connectionFlags = {
  addr: {
    type: 'string',
    value: 'ADDRESS',
    help: `the daemon: unix://, tcp://, kube-pod:// or kube://; default $BUILDKIT_HOST, else where buildkitd listens`,
  },
  debug: { type: 'bool', help: 'show where errors come from' },
  timeout: { type: 'string', value: 'SECONDS', help: 'most time until the connection is there; default 5' },
  tlscacert: { type: 'string', value: 'FILE', help: "CA of the daemon's certificate" },
  tlscert: { type: 'string', value: 'FILE', help: 'certificate to show' },
  tlsdir: {
    type: 'string',
    value: 'DIR',
    help: 'a folder with ca, cert and key (.pem), or ca, tls (.crt, .key)',
  },
  tlskey: { type: 'string', value: 'FILE', help: 'its key' },
  tlsservername: { type: 'string', value: 'NAME', help: "the name in the daemon's certificate" },
  wait: { type: 'bool', help: 'try until the daemon is there, for as long as --timeout says' },
} as const satisfies FlagTable;

type ConnectionValues = FlagValues<typeof connectionFlags>;

/** A daemon to be asked. */
export interface Connection {
  endpoint: Endpoint;
  control: Client<typeof Control>;
  /** Rejects with the daemon's error, or with `canceled`. */
  call<T>(
    work: (options: { headers: Record<string, string>; signal: AbortSignal }) => Promise<T>,
  ): Promise<T>;
}

/**
 * Finds the daemon and, with `--wait`, waits until it takes connections. Throws `invalid`, and `unavailable` when it was
 * waited for in vain.
 */
export async function connectTo(
  flags: ConnectionValues,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Connection> {
  const seconds = secondsOf(flags.timeout);
  const host = flags.addr || env.BUILDKIT_HOST || defaultAddress(defaultRoot(env));
  const endpoint = await findEndpoint(host, env, signal, tlsOf(flags));
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const cause = await reachable(endpoint, Math.max(1, deadline - performance.now()), signal);
    if (cause === undefined) break;
    if (!flags.wait || performance.now() + 100 >= deadline) throw failureOf(endpoint, cause);
    await sleep(100);
  }
  const transport = grpcTo(endpoint);
  return {
    endpoint,
    control: createClient(Control, transport),
    async call(work) {
      try {
        return await work({ headers: endpoint.headers, signal });
      } catch (err) {
        if (signal.aborted) throw canceled(signal.reason);
        throw failureOf(endpoint, err);
      }
    },
  };
}

/** Resolves with the reason for which no connection comes about, or with undefined. */
function reachable(endpoint: Endpoint, ms: number, signal: AbortSignal): Promise<Error | undefined> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(canceled(signal.reason));
    const socket = endpoint.dial('h2');
    const timer = setTimeout(() => {
      end(
        Object.assign(new Error(`no connection within ${Math.round(ms)} ms`), {
          code: 'ETIMEDOUT',
          syscall: 'connect',
        }),
      );
    }, ms);
    const onAbort = () => {
      end(undefined);
      reject(canceled(signal.reason));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    function end(cause: Error | undefined): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(cause);
    }
    socket.on('error', end);
    socket.once(endpoint.tls ? 'secureConnect' : 'connect', () => end(undefined));
  });
}

function secondsOf(text: string | undefined): number {
  if (text === undefined || text === '') return 5;
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw fail('invalid', 'client', `--timeout=${text} is no number of seconds`);
}

function tlsOf(flags: ConnectionValues) {
  const { tlsdir: dir, tlsservername: servername } = flags;
  if (dir !== undefined && (flags.tlscacert || flags.tlscert || flags.tlskey)) {
    throw fail('invalid', 'client', '--tlsdir cannot be given with --tlscacert, --tlscert or --tlskey');
  }
  const inDir = (...names: string[]) => {
    if (dir === undefined) return undefined;
    return names.map((name) => join(dir, name)).find((file) => existsSync(file));
  };
  const ca = flags.tlscacert || inDir('ca.pem', 'ca.crt');
  const cert = flags.tlscert || inDir('cert.pem', 'tls.crt');
  const key = flags.tlskey || inDir('key.pem', 'tls.key');
  if ((cert === undefined) !== (key === undefined)) {
    throw fail('invalid', 'client', 'a certificate and its key belong together: --tlscert and --tlskey');
  }
  if (dir !== undefined && ca === undefined && cert === undefined) {
    throw fail('invalid', 'client', `there is no certificate in ${dir}`, {
      hint: '--tlsdir names a folder with ca.pem, cert.pem and key.pem, or with ca.crt, tls.crt and tls.key.',
    });
  }
  if (ca === undefined && cert === undefined && servername === undefined) return undefined;
  return { ca, cert, key, servername: servername || undefined };
}
