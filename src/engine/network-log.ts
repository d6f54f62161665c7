/** What the steps of one build have asked for by the proxies of their networks, now or when they ran, kept while it runs. */
import type { Digest } from '../oci/index.ts';
import { forwarding, type NetworkUse, type ProgressSink } from '../progress/index.ts';

/** Keeps what steps tell. Of a step from another builder's cache nothing is known. */
export class NetworkLog {
  /** Takes the build's progress and passes it on. */
  readonly sink: ProgressSink;
  readonly steps = new Map<Digest, NetworkUse>();

  constructor(sink: ProgressSink) {
    this.sink = {
      ...forwarding(sink),
      network: (event) => {
        this.steps.set(event.vertex, event.network);
        sink.network?.(event);
      },
    };
  }
}
