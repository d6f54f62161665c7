/** LLBBridge on the daemon. Each call goes to the gateway of the caller's build, which a header names. */
import type { HandlerContext } from '@connectrpc/connect';
import { reachOf } from '../../../auth/index.ts';
import type { GatewayService } from '../../../engine/index.ts';
import type { ExecMessage } from '../../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { callerOf } from '../caller.ts';
import type { Gateways } from './gateways.ts';

/** The header in which a client's calls name their build: its `Ref` in Control.Solve. */
export const buildIdHeader = 'buildkit-controlapi-buildid';

/**
 * Makes the service. Calls fail with DrydockErrors: `invalid` without the header, `not-found` for a build that does not
 * come.
 */
export function gatewayService(gateways: Gateways): GatewayService {
  const at = (context: HandlerContext) =>
    gateways
      .find(reachOf(callerOf(context)), context.requestHeader.get(buildIdHeader) ?? '', context.signal)
      .then(({ service }) => service);
  return {
    resolveImageConfig: async (request, context) => (await at(context)).resolveImageConfig(request, context),
    resolveSourceMeta: async (request, context) => (await at(context)).resolveSourceMeta(request, context),
    solve: async (request, context) => (await at(context)).solve(request, context),
    readFile: async (request, context) => (await at(context)).readFile(request, context),
    readDir: async (request, context) => (await at(context)).readDir(request, context),
    statFile: async (request, context) => (await at(context)).statFile(request, context),
    evaluate: async (request, context) => (await at(context)).evaluate(request, context),
    ping: async (request, context) => (await at(context)).ping(request, context),
    return: async (request, context) => (await at(context)).return(request, context),
    inputs: async (request, context) => (await at(context)).inputs(request, context),
    newContainer: async (request, context) => (await at(context)).newContainer(request, context),
    releaseContainer: async (request, context) => (await at(context)).releaseContainer(request, context),
    async *execProcess(messages: AsyncIterable<ExecMessage>, context: HandlerContext) {
      yield* (await at(context)).execProcess(messages, context);
    },
    readFileContainer: async (request, context) => (await at(context)).readFileContainer(request, context),
    readDirContainer: async (request, context) => (await at(context)).readDirContainer(request, context),
    statFileContainer: async (request, context) => (await at(context)).statFileContainer(request, context),
    warn: async (request, context) => (await at(context)).warn(request, context),
  };
}
