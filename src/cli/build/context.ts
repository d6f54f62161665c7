/** Reads the CONTEXT argument and -f: each may name a folder, a stream or a URL. */
import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, relative, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { fail } from '../../errors/index.ts';
import { type ContextSource, dockerfileAt } from '../../frontend/index.ts';
import { rawName } from '../../linux/index.ts';
import type { State } from '../../llb/index.ts';
import { isRemoteUrl } from '../../words/index.ts';

interface ContextChoice {
  context: ContextSource;
  dockerfile?: string;
  dockerfileText?: string;
  dockerfileLocal?: string;
  /** The tree with the Dockerfile, when that is a URL. */
  dockerfileState?: State;
  locals: Record<string, string>;
  uploads: Record<string, Readable>;
}

/**
 * Works out where the context and the Dockerfile come from. Throws `invalid` and `not-found` (hop `client`), in
 * docker's words, when the folder or the Dockerfile is missing, or stdin is asked for twice.
 */
export function chooseContext(context: string, file: string | undefined, stdin: Readable): ContextChoice {
  const remote = dockerfileAt(file);
  if (remote !== undefined) return { ...chooseContext(context, undefined, stdin), ...remote };
  const none = { locals: {}, uploads: {} };
  if (context === '-') {
    if (file === '-')
      throw fail('invalid', 'client', "can't use stdin for both build context and Dockerfile");
    return { ...none, context: { type: 'upload', id: 'stdin' }, dockerfile: file, uploads: { stdin } };
  }
  // As the kernel finds it: a URL with `..` in it is no folder, wherever the dots would lead.
  const named = statSync(rawName(context), { throwIfNoEntry: false });
  if (isRemoteUrl(context) && !named?.isDirectory()) {
    const dockerfileText = file === '-' ? readStdin() : undefined;
    return {
      ...none,
      context: { type: 'remote', url: context },
      ...(dockerfileText === undefined ? { dockerfile: file } : { dockerfileText }),
    };
  }
  const dir = resolve(context);
  const stats = statSync(rawName(dir), { throwIfNoEntry: false });
  if (stats === undefined) {
    throw fail('not-found', 'client', `unable to prepare context: path ${JSON.stringify(context)} not found`);
  }
  if (!stats.isDirectory()) {
    throw fail('invalid', 'client', `unable to prepare context: ${context} is not a folder`, {
      hint: `To build a Dockerfile of another name: -f ${context} ${dirname(context)}`,
    });
  }
  const locals = { context: dir };
  if (file === '-')
    return { ...none, context: { type: 'local', name: 'context' }, dockerfileText: readStdin(), locals };
  if (file === undefined) return { ...none, context: { type: 'local', name: 'context' }, locals };
  const path = resolve(file);
  const inside = relative(dir, path);
  if (!inside.startsWith('..') && !isAbsolute(inside)) {
    return { ...none, context: { type: 'local', name: 'context' }, dockerfile: inside, locals };
  }
  return {
    ...none,
    context: { type: 'local', name: 'context' },
    dockerfile: basename(path),
    dockerfileLocal: 'dockerfile',
    locals: { ...locals, dockerfile: dirname(path) },
  };
}

function readStdin(): string {
  return readFileSync(0, 'utf8');
}

/** `--build-context NAME=VALUE`: folders become session locals, the rest goes on as written. */
export function namedContexts(list: readonly string[]): {
  contexts: Record<string, string>;
  locals: Record<string, string>;
} {
  const contexts: Record<string, string> = {};
  const locals: Record<string, string> = {};
  for (const item of list) {
    const at = item.indexOf('=');
    const name = item.slice(0, at).trim();
    const value = item.slice(at + 1);
    if (at <= 0 || value === '') {
      throw fail('invalid', 'client', `invalid context value: ${item}, expected key=value`);
    }
    if (value.startsWith('oci-layout://')) {
      const match = /^oci-layout:\/\/([^@]+?)(?::([\w][\w.-]*))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(value);
      if (match === null) throw fail('invalid', 'client', `invalid OCI layout context ${value}`);
      const store = `oci-layout-${name.replace(/[^a-z0-9]+/gi, '-').toLowerCase()}`;
      locals[store] = resolve(match[1] as string);
      const tag = match[2] === undefined ? '' : `:${match[2]}`;
      contexts[name] = `oci-layout://${store}${tag}${match[3] === undefined ? '' : `@${match[3]}`}`;
    } else if (value.startsWith('docker-image://') || isRemoteUrl(value)) contexts[name] = value;
    else {
      const dir = resolve(value);
      if (!statSync(rawName(dir), { throwIfNoEntry: false })?.isDirectory()) {
        throw fail('not-found', 'client', `failed to get build context ${name}: ${value} is not a folder`);
      }
      const local = `context:${name}`;
      locals[local] = dir;
      contexts[name] = `local:${local}`;
    }
  }
  return { contexts, locals };
}
