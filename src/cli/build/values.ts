/** Values of build flags: pure functions from text to what the engine takes. */
import { lookup } from 'node:dns/promises';
import { fail } from '../../errors/index.ts';
import { type PullPolicy, pullPolicyNamed } from '../../oci/index.ts';
import type { SecretSource, SshSource } from '../../session/index.ts';
import { parseBool } from '../../words/index.ts';
import { parsePairs, splitCsv } from '../csv.ts';

/** `NAME=VALUE`; a bare NAME takes its value from the environment and is left out when that has none. */
export function buildArgs(list: readonly string[], env: NodeJS.ProcessEnv): Record<string, string> {
  const out: Record<string, string> = {};
  for (const item of list) {
    const at = item.indexOf('=');
    const name = at < 0 ? item : item.slice(0, at);
    if (name === '')
      throw fail('invalid', 'client', `invalid --build-arg ${JSON.stringify(item)}: want NAME=VALUE`);
    const value = at < 0 ? env[name] : item.slice(at + 1);
    if (value !== undefined) out[name] = value;
  }
  return out;
}

/** `KEY=VALUE`, `KEY`; a later one wins. */
export function keyValues(list: readonly string[], flag: string): Record<string, string> {
  const out: Record<string, string> = {};
  for (const item of list) {
    const at = item.indexOf('=');
    const key = at < 0 ? item : item.slice(0, at);
    if (key === '')
      throw fail('invalid', 'client', `invalid --${flag} ${JSON.stringify(item)}: want KEY=VALUE`);
    out[key] = at < 0 ? '' : item.slice(at + 1);
  }
  return out;
}

/** `NAME:IP` or `NAME=IP`; `host-gateway` for an address is left to the executor. */
export function extraHost(text: string): { host: string; ip: string } {
  const match = /^([^:=]+)[:=](.+)$/.exec(text);
  if (match === null) throw fail('invalid', 'client', `bad format for add-host: ${JSON.stringify(text)}`);
  return { host: match[1] as string, ip: (match[2] as string).replace(/^\[(.*)\]$/, '$1') };
}

/** `id=x,src=file`, `id=x,env=VAR`, `id=x` (env x if set, else file x), `type=file|env`. */
export function secret(text: string, env: NodeJS.ProcessEnv): SecretSource {
  const pairs = parsePairs(text, 'secret');
  const known = new Set(['type', 'id', 'src', 'source', 'env']);
  for (const key of pairs.keys()) {
    if (!known.has(key)) throw fail('invalid', 'client', `unexpected key '${key}' in --secret ${text}`);
  }
  const id = pairs.get('id') ?? pairs.get('env') ?? pairs.get('src')?.split('/').pop();
  if (!id) throw fail('invalid', 'client', `--secret ${text} has no id`);
  const file = pairs.get('src') ?? pairs.get('source');
  const type = pairs.get('type');
  if (type !== undefined && type !== 'file' && type !== 'env') {
    throw fail('invalid', 'client', `unsupported secret type ${JSON.stringify(type)}: want file or env`);
  }
  if (type === 'env') return { id, env: pairs.get('env') ?? file ?? id };
  const variable = pairs.get('env');
  if (variable !== undefined) return { id, env: variable };
  if (file !== undefined) return { id, file };
  return type !== 'file' && env[id] !== undefined ? { id, env: id } : { id, file: id };
}

/** `default`, `id`, `id=path[,path]`. */
export function ssh(text: string): SshSource {
  const at = text.indexOf('=');
  if (at < 0) return { id: text || 'default', paths: [] };
  return {
    id: text.slice(0, at) || 'default',
    paths: splitCsv(text.slice(at + 1)).filter((path) => path !== ''),
  };
}

/** Replaces host names given for addresses by their address; docker wants addresses, buildx resolves them. */
export async function resolveHosts(
  hosts: readonly { host: string; ip: string }[],
): Promise<{ host: string; ip: string }[]> {
  return Promise.all(
    hosts.map(async ({ host, ip }) => {
      if (ip === 'host-gateway' || /^[0-9.]+$|:/.test(ip)) return { host, ip };
      const found = await lookup(ip).catch((cause) => {
        throw fail(
          'invalid',
          'client',
          `--add-host ${host}:${ip}: ${ip} is no address and does not resolve`,
          { cause },
        );
      });
      return { host, ip: found.address };
    }),
  );
}

/** The value of `--pull`: a policy's name, or a truth value as docker's clients give it; the bare flag is `always`. */
export function pullPolicy(text: string | undefined): PullPolicy {
  if (text === undefined) return 'missing';
  const isAsked = text === '' || parseBool(text);
  const policy =
    pullPolicyNamed(text) ?? (isAsked === undefined ? undefined : isAsked ? 'always' : 'missing');
  if (policy !== undefined) return policy;
  throw fail(
    'invalid',
    'client',
    `invalid argument ${JSON.stringify(text)} for --pull: want always, missing or never`,
  );
}
