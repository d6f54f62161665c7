/**
 * Makes a build whose client is its own frontend: the client solves by calls of its own until it returns the result.
 */
import { throwIfAborted } from '../../errors/index.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { Bridge } from '../bridge/bridge.ts';
import type { Frontend } from '../bridge/types.ts';
import { Gateway } from '../gateway/gateway.ts';

/** Makes a gateway reachable for the client. Returns a function that ends that. */
export type OpenGateway = (gateway: Gateway) => () => void;

/**
 * Makes a build that waits for its client's result. `inputs` are trees that the client hands to itself, by name. The
 * build rejects with the error that the client returns.
 */
export function client(open: OpenGateway, inputs: Readonly<Record<string, Definition>> = {}): Frontend {
  return (bridge) =>
    withGateway(
      bridge,
      open,
      async (gateway) => {
        const { signal } = bridge.job;
        const giveUp = () => gateway.giveUp(signal.reason);
        signal.addEventListener('abort', giveUp, { once: true });
        try {
          throwIfAborted(signal);
          return await gateway.returned;
        } finally {
          signal.removeEventListener('abort', giveUp);
        }
      },
      inputs,
    );
}

/** Lets the client reach the build through a gateway while `work` goes on. */
export async function withGateway<T>(
  bridge: Bridge,
  open: OpenGateway,
  work: (gateway: Gateway) => Promise<T>,
  inputs: Readonly<Record<string, Definition>> = {},
): Promise<T> {
  const gateway = new Gateway(bridge, inputs);
  const close = open(gateway);
  try {
    return await work(gateway);
  } finally {
    close();
    await gateway.close();
  }
}
