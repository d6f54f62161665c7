/**
 * Large Dockerfiles are converted by a worker thread, so that the main thread goes on serving others. The thread asks
 * this side for the host's services, and sends the result in parts, each after the part before was taken.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { fromDefinition, marshal, type State } from '../../llb/index.ts';
import type { ImageConfig } from '../../oci/index.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import { type PlainError, packError, runTask, taskError } from '../../workers/index.ts';
import type {
  ContextSource,
  DockerfileRequest,
  FrontendHost,
  FrontendTarget,
  FrontendTree,
} from '../types.ts';
import type { Examined } from './frontend.ts';

/** A request as plain data: its trees are their definitions. */
export interface PlainRequest extends Omit<DockerfileRequest, 'context' | 'dockerfileState' | 'inputs'> {
  context: Exclude<ContextSource, { type: 'state' }> | { type: 'state'; definition: Definition };
  dockerfileDefinition?: Definition;
  inputDefinitions?: Record<string, Omit<Input, 'state'> & { definition: Definition }>;
}

type Input = NonNullable<DockerfileRequest['inputs']>[string];

/** The result as it crosses to this side: without the ops, which were sent before, and with errors as plain data. */
export type PlainExamined = Omit<Examined, 'failure' | 'violation'> & {
  failure?: PlainError;
  violation?: PlainError;
};

/** A part of a target's definition. */
type Ops = Pick<Definition, 'def' | 'metadata'>;
/** The config of a target or of its base, as JSON. */
interface ConfigText {
  name: 'config' | 'baseConfig';
  json: string;
}
/** The part of a target that was received so far. */
type Part = Ops & Partial<Pick<FrontendTarget, ConfigText['name']>>;

/**
 * A question of the thread: a method of the host, or of a tree that the host has opened; or that this side takes ops or
 * configs of a target.
 */
export type HostCall = { id: number } & (
  | { method: string; tree?: number; args: unknown[] }
  | { target: number; ops: Ops }
  | ({ target: number } & ConfigText)
);
/** The answer. `tree` is the number of a tree that was opened. */
export type HostReply = { id: number } & ({ result: unknown } | { tree: number } | { error: PlainError });

/** Runs `examineHere` on a thread. Throws its errors, and `canceled` when the signal fires. */
export async function examineOnThread(
  request: DockerfileRequest,
  host: FrontendHost,
  signal: AbortSignal,
): Promise<Examined> {
  const { port1, port2 } = new MessageChannel();
  const parts: Part[] = [];
  serve(port1, host, parts);
  try {
    const args = { request: plainRequest(request), port: port2 };
    const options = { signal, transfer: [port2], waits: true };
    const { failure, violation, ...result } = await runTask('frontend.convert', args, options);
    for (const [i, target] of result.targets.entries()) {
      const { def = [], metadata = {}, ...configs } = parts[i] ?? {};
      Object.assign(target.definition, { def, metadata });
      Object.assign(target, configs);
    }
    const { dockerfile } = result;
    // The text came once, not with every place in it.
    for (const { location } of result.warnings) location.text ||= dockerfile?.text ?? '';
    const examined: Examined = { ...result };
    if (failure !== undefined) examined.failure = taskError(failure);
    if (violation !== undefined) examined.violation = taskError(violation);
    return examined;
  } finally {
    port1.close();
  }
}

type Methods = Readonly<Record<string, (...args: unknown[]) => Promise<unknown>>>;

function serve(port: MessagePort, host: FrontendHost, parts: Part[]): void {
  const trees: FrontendTree[] = [];
  const answer = async (call: HostCall): Promise<{ result: unknown } | { tree: number }> => {
    if ('target' in call) {
      parts[call.target] ??= { def: [], metadata: {} };
      const part = parts[call.target] as Part;
      if ('json' in call) {
        part[call.name] = JSON.parse(call.json) as ImageConfig;
        return { result: undefined };
      }
      part.def.push(...call.ops.def);
      Object.assign(part.metadata, call.ops.metadata);
      return { result: undefined };
    }
    if (call.tree === undefined && call.method === 'open') {
      return { tree: trees.push(await host.open(call.args[0] as Definition)) - 1 };
    }
    const on = (call.tree === undefined ? host : trees[call.tree]) as unknown as Methods;
    return { result: await on[call.method]?.(...call.args) };
  };
  port.on('message', (call: HostCall) => {
    const { id } = call;
    answer(call).then(
      (reply) => port.postMessage({ id, ...reply } satisfies HostReply),
      (err) => port.postMessage({ id, error: packError(err) } satisfies HostReply),
    );
  });
}

function plainRequest({ context, dockerfileState, inputs, ...rest }: DockerfileRequest): PlainRequest {
  const plain: PlainRequest = {
    ...rest,
    context: context.type === 'state' ? { type: 'state', definition: marshal(context.state) } : context,
  };
  if (dockerfileState !== undefined) plain.dockerfileDefinition = marshal(dockerfileState);
  if (inputs !== undefined) {
    plain.inputDefinitions = Object.fromEntries(
      Object.entries(inputs).map(([name, { state, ...input }]) => [
        name,
        { ...input, definition: marshal(state) },
      ]),
    );
  }
  return plain;
}

/** Makes the request again, on the other side. */
export function requestOf({
  context,
  dockerfileDefinition,
  inputDefinitions,
  ...rest
}: PlainRequest): DockerfileRequest {
  const stateOf = (definition: Definition): State => fromDefinition(definition);
  const request: DockerfileRequest = {
    ...rest,
    context: context.type === 'state' ? { type: 'state', state: stateOf(context.definition) } : context,
  };
  if (dockerfileDefinition !== undefined) request.dockerfileState = stateOf(dockerfileDefinition);
  if (inputDefinitions !== undefined) {
    request.inputs = Object.fromEntries(
      Object.entries(inputDefinitions).map(([name, { definition, ...input }]) => [
        name,
        { ...input, state: stateOf(definition) },
      ]),
    );
  }
  return request;
}
