/** Builds that are looked into before they go on: what a step that failed has left, or what was made. */
import type { Transport } from '@connectrpc/connect';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { Bridge } from '../bridge/bridge.ts';
import type { BridgeResult, Frontend } from '../bridge/types.ts';
import type { SolveDetail } from '../gateway/solve-failure.ts';
import { withGateway } from './client.ts';

/** Trees that were made, by the names of the result's refs ('' where it has one only), and what is known of them. */
export interface InspectedResult {
  /** The ids of the trees; '' is the empty tree. */
  refs: ReadonlyMap<string, string>;
  metadata: Readonly<Record<string, Uint8Array>>;
}

/** The failure of a build. */
export interface InspectedFailure {
  error: unknown;
  /** The step that failed, with what it has left; undefined: it is not known which. */
  step: SolveDetail | undefined;
  /** What the build was to make, of each platform; none when the frontend itself has failed. */
  definitions: readonly Definition[];
}

/**
 * Looks into a build. Each function is given calls of LLBBridge (`transport`) by which it finds the trees and runs
 * processes, and the build waits until its promise resolves.
 */
interface Inspector {
  /** A step has failed, or the frontend. */
  failed?(failure: InspectedFailure, transport: Transport): Promise<void>;
  /** All steps are made, and no output yet. */
  made?(result: InspectedResult, transport: Transport): Promise<void>;
}

/**
 * Makes a frontend that solves all of its result before it returns, and has an inspector look at what came of that. It
 * rejects with the failure that was looked at.
 */
export function inspected(frontend: Frontend, inspector: Inspector): Frontend {
  return async (bridge) => {
    let result: BridgeResult;
    let trees: readonly BridgeResult['ref'][] = [];
    try {
      result = await frontend(bridge);
      trees = result.refs === undefined ? [result.ref] : [...result.refs.values()];
      if (!result.isAnswer) await Promise.all(trees.map((ref) => ref?.result()));
    } catch (error) {
      if (bridge.job.signal.aborted || inspector.failed === undefined) throw error;
      await calling(bridge, async (gateway, transport) => {
        const { solveDetailOf } = await import('../gateway/solve-failure.ts');
        const step = solveDetailOf(gateway.tell(error));
        const definitions = trees.flatMap((ref) => ref?.definition ?? []);
        await inspector.failed?.({ error, step, definitions }, transport);
      });
      throw error;
    }
    if (result.isAnswer || inspector.made === undefined) return result;
    const { metadata } = result;
    await calling(bridge, async (gateway, transport) => {
      const named = [...(result.refs ?? new Map([['', result.ref]]))];
      const refs = new Map(named.map(([name, ref]) => [name, gateway.idsOf({ ref, metadata })[0] ?? '']));
      await inspector.made?.({ refs, metadata }, transport);
    });
    return result;
  };
}

/** Makes a build that `direct` makes by calls of LLBBridge, and that has no result. */
export function directed(direct: (transport: Transport) => Promise<void>): Frontend {
  return async (bridge) => {
    await calling(bridge, (_, transport) => direct(transport));
    return { metadata: {}, isAnswer: true };
  };
}

type Served = Parameters<Parameters<typeof withGateway>[2]>[0];

async function calling(
  bridge: Bridge,
  work: (gateway: Served, transport: Transport) => Promise<void>,
): Promise<void> {
  // Loaded only when asked for: few builds are looked into.
  const { callsTo } = await import('../gateway/calls.ts');
  let calls: ReturnType<typeof callsTo> | undefined;
  const open = (gateway: Served) => {
    const opened = callsTo(gateway);
    calls = opened;
    return () => opened.close();
  };
  await withGateway(bridge, open, async (gateway) => {
    if (calls !== undefined) await work(gateway, calls.transport);
  });
}
