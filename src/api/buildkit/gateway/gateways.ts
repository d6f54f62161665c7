/** The gateways of builds whose clients are their own frontends, by the build's reference. */
import type { Reach } from '../../../auth/index.ts';
import type { Gateway } from '../../../engine/index.ts';
import { fail } from '../../../errors/index.ts';
import { Owned } from '../../shared/owned.ts';

/**
 * The gateways of running builds. One is registered when its build waits for the client's calls, and forgotten when the
 * build ends.
 */
export class Gateways {
  readonly #byRef = new Owned<Gateway>();

  /** Makes a gateway known until the function that it returns is called. Throws `exists`. */
  register(owner: string, ref: string, gateway: Gateway): () => void {
    const forget = this.#byRef.add(owner, ref, gateway);
    if (forget === undefined) throw fail('exists', 'client', `the build ${ref} has a gateway already`);
    return forget;
  }

  /**
   * The gateway of a build, after a short wait. Throws `invalid` without a reference, `not-found` when it does not
   * come.
   */
  async find(reach: Reach, ref: string, signal?: AbortSignal): Promise<Gateway> {
    if (ref === '') throw fail('invalid', 'client', 'no buildid found in context');
    const gateway = await this.#byRef.find(reach, ref, signal);
    if (gateway !== undefined) return gateway;
    throw fail('not-found', 'client', `no such job ${ref}`, { details: { job: ref } });
  }
}
