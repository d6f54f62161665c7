/**
 * A build at a daemon whose client is its own frontend: it asks for the builds whose results are contexts one after
 * another, and may look into what was made, or has failed, before it returns the result.
 */
import { create } from '@bufbuild/protobuf';
import { ConnectError, createClient } from '@connectrpc/connect';
import {
  type BuildOptions,
  type InspectedFailure,
  type InspectedResult,
  type LinkResult,
  type SolveDetail,
  withLinks,
} from '../../engine/index.ts';
import { type DockerfileRequest, optionsOf } from '../../frontend/index.ts';
import { StatusSchema } from '../../pb/google/rpc/status_pb.js';
import { LLBBridge, type Result } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import { definitionsOf } from '../debug/definition.ts';
import type { OwnFrontend } from './solve.ts';

/** Looks into a build before it goes on, by the calls of its client. */
export interface SolveInspector {
  /** A step has failed, or the frontend. */
  failed(failure: InspectedFailure, frontend: OwnFrontend): Promise<void>;
  made?(result: InspectedResult, frontend: OwnFrontend): Promise<void>;
}

/**
 * Asks for the builds that the options link to, then for the build itself, and returns its result to the daemon. With
 * an inspector all steps are made before that, and a failure is returned to the daemon once it was looked at.
 */
export async function linkedSolve(
  own: OwnFrontend,
  { linked = {}, ...options }: BuildOptions,
  attests: Readonly<Record<string, string>>,
  inspector?: SolveInspector,
): Promise<void> {
  const { transport, call } = own;
  const bridge = createClient(LLBBridge, transport);
  /** Of the build that is made: failures tell a step of it. */
  let definitions: readonly Definition[] = [];
  const solve = async (request: DockerfileRequest, more: Readonly<Record<string, string>> = {}) => {
    const { options: FrontendOpt, inputs: FrontendInputs } = optionsOf(request);
    const answer = await bridge.solve(
      {
        Frontend: 'dockerfile.v0',
        FrontendOpt: { ...FrontendOpt, ...more },
        FrontendInputs,
        allowResultReturn: true,
        allowResultArrayRef: true,
      },
      call,
    );
    const { result } = answer;
    if (result !== undefined && inspector !== undefined) {
      definitions = definitionsOf(result);
      const trees = [...treesOf(result).refs.values()].filter((id) => id !== '');
      await Promise.all(trees.map((Ref) => bridge.evaluate({ Ref }, call)));
    }
    return result;
  };
  const make = async () => {
    const request = await withLinks(options, linked, async (asked) => linkResult(await solve(asked)));
    return solve(request, attests);
  };
  try {
    const result = await make();
    if (result !== undefined) await inspector?.made?.(treesOf(result), own);
    await bridge.return({ result }, call);
  } catch (err) {
    if (inspector === undefined || call.signal.aborted) throw err;
    if (!(err instanceof ConnectError)) {
      await bridge
        .return({ error: { code: 2, message: String((err as Error).message) } }, call)
        .catch(() => {});
      throw err;
    }
    await inspector.failed({ error: err, step: failedStep(err), definitions }, own);
    await bridge.return({ error: statusOf(err) }, call).catch(() => {});
    throw err;
  }
}

/** The step that a failure of the daemon's tells of. */
function failedStep(err: ConnectError): SolveDetail | undefined {
  for (const detail of err.details) {
    if ('desc' in detail || !detail.type.endsWith('errdefs.Solve+json')) continue;
    return JSON.parse(Buffer.from(detail.value).toString('utf8')) as SolveDetail;
  }
  return undefined;
}

/** The failure in the form in which a frontend returns it. */
function statusOf(err: ConnectError) {
  const details = err.details.flatMap((detail) =>
    'desc' in detail ? [] : [{ typeUrl: `github.com/moby/buildkit/${detail.type}`, value: detail.value }],
  );
  return create(StatusSchema, { code: err.code, message: err.rawMessage, details });
}

function treesOf({ result, metadata }: Result): InspectedResult {
  switch (result.case) {
    case 'ref':
      return { refs: new Map([['', result.value.id]]), metadata };
    case 'refs':
      return {
        refs: new Map(Object.entries(result.value.refs).map(([name, { id }]) => [name, id])),
        metadata,
      };
    default:
      return { refs: new Map(), metadata };
  }
}

function linkResult(result: Result | undefined): LinkResult {
  const { metadata = {} } = result ?? {};
  switch (result?.result.case) {
    case 'ref':
      return { definition: result.result.value.def, metadata };
    case 'refs':
      return {
        definitions: new Map(Object.entries(result.result.value.refs).map(([name, ref]) => [name, ref.def])),
        metadata,
      };
    default:
      return { metadata };
  }
}
