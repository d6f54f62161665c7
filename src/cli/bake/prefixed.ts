import { type Digest, digestOf } from '../../oci/index.ts';
import type { ProgressSink } from '../../progress/index.ts';

/**
 * A sink for one of several builds that are drawn together: its steps have the target's name before theirs, and are told
 * from equal steps of the others. `[1/2] RUN make` of `app` is shown as `[app 1/2] RUN make`.
 */
export function prefixed(sink: ProgressSink, target: string): ProgressSink {
  const digests = new Map<Digest, Digest>();
  const own = (digest: Digest): Digest => {
    let found = digests.get(digest);
    if (found === undefined) {
      found = digestOf(`${target}\n${digest}`);
      digests.set(digest, found);
    }
    return found;
  };
  return {
    vertex: (event) =>
      sink.vertex({
        ...event,
        digest: own(event.digest),
        inputs: event.inputs.map(own),
        name: nameOf(target, event.name),
      }),
    status: (event) => sink.status({ ...event, vertex: own(event.vertex) }),
    log: (event) => sink.log({ ...event, vertex: own(event.vertex) }),
    warning: (event) =>
      sink.warning({ ...event, vertex: own(event.vertex), short: `${target}: ${event.short}` }),
    usage: (event) => sink.usage?.({ ...event, vertex: own(event.vertex) }),
    network: (event) => sink.network?.({ ...event, vertex: own(event.vertex) }),
  };
}

function nameOf(target: string, name: string): string {
  return name.startsWith('[') ? `[${target} ${name.slice(1)}` : `[${target}] ${name}`;
}
