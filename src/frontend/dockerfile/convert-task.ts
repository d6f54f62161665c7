/** The worker task `frontend.convert`: runs the frontend on a thread, with a host on the other side of a port. */
import type { MessagePort } from 'node:worker_threads';
import { canceled, fail } from '../../errors/index.ts';
import { documentExcess } from '../../oci/index.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import { packError, taskError } from '../../workers/index.ts';
import type { FrontendHost, FrontendTree } from '../types.ts';
import { examineHere } from './frontend.ts';
import { type HostCall, type HostReply, type PlainExamined, type PlainRequest, requestOf } from './large.ts';

/** The number of ops in one part of a definition, which the main thread takes in at one time. */
const partSize = 250;

/** Throws the errors of `examineHere`. */
export async function convert(
  { request, port }: { request: PlainRequest; port: MessagePort },
  ctx: { aborted(): boolean },
): Promise<PlainExamined> {
  const call = caller(port);
  const signal = {
    get aborted() {
      return ctx.aborted();
    },
    get reason() {
      return canceled();
    },
  };
  try {
    const { failure, violation, ...result } = await examineHere(requestOf(request), hostOf(call), signal);
    for (const [i, target] of result.targets.entries()) {
      await sendOps(call, i, target.definition);
      await sendConfigs(call, i, target);
    }
    const text = result.dockerfile?.text;
    for (const { location } of result.warnings) if (location.text === text) location.text = '';
    const plain: PlainExamined = result;
    if (failure !== undefined) plain.failure = packError(failure);
    if (violation !== undefined) plain.violation = packError(violation);
    return plain;
  } finally {
    port.close();
  }
}

type Reply = Exclude<HostReply, { error: unknown }>;
type Unnumbered<T> = T extends unknown ? Omit<T, 'id'> : never;
type AskHost = (call: Unnumbered<HostCall>) => Promise<Reply>;

function caller(port: MessagePort): AskHost {
  const waiting = new Map<number, { resolve(reply: Reply): void; reject(err: Error): void }>();
  let lastId = 0;
  port.on('message', (reply: HostReply) => {
    const call = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('error' in reply) call?.reject(taskError(reply.error));
    else call?.resolve(reply);
  });
  port.on('close', () => {
    for (const { reject } of waiting.values()) reject(canceled());
  });
  return (call) =>
    new Promise((resolve, reject) => {
      const id = ++lastId;
      waiting.set(id, { resolve, reject });
      port.postMessage({ id, ...call });
    });
}

function hostOf(call: AskHost): FrontendHost {
  const ask = async <T>(method: string, args: unknown[], tree?: number): Promise<T> => {
    const reply = await call({ method, args, tree });
    return ('result' in reply ? reply.result : undefined) as T;
  };
  return {
    resolveImage: (...args) => ask('resolveImage', args),
    sourceTime: (...args) => ask('sourceTime', args),
    storedName: (...args) => ask('storedName', args),
    async open(definition) {
      const reply = await call({ method: 'open', args: [definition] });
      const tree = 'tree' in reply ? reply.tree : -1;
      return {
        readFile: async (...args) => bufferOf(await ask('readFile', args, tree)),
        stat: (...args) => ask('stat', args, tree),
        readdir: (...args) => ask('readdir', args, tree),
        newest: () => ask('newest', [], tree),
      } satisfies FrontendTree;
    },
  };
}

/** A buffer of the plain bytes that crossed from the other side. */
function bufferOf(bytes: Uint8Array | undefined): Buffer | undefined {
  return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Sends the configs of a target as text, which the other side reads sooner than cloned objects. Throws `exhausted` for
 * a config that is too large for an image.
 */
async function sendConfigs(
  call: AskHost,
  target: number,
  made: { config: object; baseConfig?: object },
): Promise<void> {
  for (const name of ['config', 'baseConfig'] as const) {
    const config = made[name];
    if (config === undefined) continue;
    const json = JSON.stringify(config);
    const excess = documentExcess(Buffer.from(json));
    if (excess !== undefined) throw fail('exhausted', 'dockerfile', `the image's config has ${excess}`);
    made[name] = {};
    await call({ target, name, json });
  }
}

/** Sends the ops of a definition, and leaves the definition without them. */
async function sendOps(call: AskHost, target: number, definition: Definition): Promise<void> {
  const { def, metadata } = definition;
  const named = Object.entries(metadata);
  definition.def = [];
  definition.metadata = {};
  for (let at = 0; at < Math.max(def.length, named.length); at += partSize) {
    const ops = {
      def: def.slice(at, at + partSize),
      metadata: Object.fromEntries(named.slice(at, at + partSize)),
    };
    await call({ target, ops });
  }
}
