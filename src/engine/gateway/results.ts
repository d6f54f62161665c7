/** Results from and to their messages. A ref has an id that only its frontend knows. */
import { randomUUID } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { fail } from '../../errors/index.ts';
import {
  type Attestation,
  AttestationSchema,
  type Result as PbResult,
  ResultSchema,
} from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { BridgeRef } from '../bridge/ref.ts';
import type { BridgeAttestation, BridgeResult } from '../bridge/types.ts';

/** The refs that one frontend knows, by the ids under which it was given them. */
export class RefTable {
  readonly #refs = new Map<string, BridgeRef>();

  /** Gives a ref an id; the empty tree's id is ''. */
  add(ref: BridgeRef | undefined): string {
    if (ref === undefined) return '';
    const id = randomUUID();
    this.#refs.set(id, ref);
    return id;
  }

  /** The ref of an id; undefined for the empty tree, whose id is ''. Throws `not-found`. */
  get(id: string): BridgeRef | undefined {
    if (id === '') return undefined;
    const ref = this.#refs.get(id);
    if (ref === undefined) throw fail('not-found', 'frontend', `no such ref: ${id}`);
    return ref;
  }

  /** The message of a result. `asRefs` adds the definitions, for clients that know that form. */
  message(result: BridgeResult, asRefs: boolean): PbResult {
    return create(ResultSchema, {
      result: this.#trees(result, asRefs),
      metadata: { ...result.metadata },
      attestations: this.#attestations(result),
    });
  }

  #ref(ref: BridgeRef | undefined): { id: string; def: BridgeRef['definition'] | undefined } {
    return { id: this.add(ref), def: ref?.definition };
  }

  #trees(result: BridgeResult, asRefs: boolean): MessageInitShape<typeof ResultSchema>['result'] {
    const { ref, refs } = result;
    if (refs === undefined) {
      return asRefs
        ? { case: 'ref', value: this.#ref(ref) }
        : { case: 'refDeprecated', value: this.add(ref) };
    }
    const named = [...refs];
    return asRefs
      ? {
          case: 'refs',
          value: { refs: Object.fromEntries(named.map(([name, each]) => [name, this.#ref(each)])) },
        }
      : {
          case: 'refsDeprecated',
          value: { refs: Object.fromEntries(named.map(([name, each]) => [name, this.add(each)])) },
        };
  }

  #attestations(result: BridgeResult): MessageInitShape<typeof ResultSchema>['attestations'] {
    const entries = Object.entries(result.attestations ?? {}).map(([name, list]) => [
      name,
      { attestation: list.map(({ message, ref }) => this.#attestation(message, ref)) },
    ]);
    return Object.fromEntries(entries);
  }

  #attestation(message: Attestation, ref: BridgeRef | undefined): Attestation {
    // With its type's name it would count as a message that is complete.
    const { $typeName: _, ...fields } = message;
    return create(AttestationSchema, { ...fields, ref: ref && this.#ref(ref) });
  }

  /** The result that a frontend returns. Throws `not-found` for refs that it was never given. */
  result(message: PbResult): BridgeResult {
    const { metadata } = message;
    const attestations: Record<string, BridgeAttestation[]> = {};
    for (const [name, { attestation }] of Object.entries(message.attestations)) {
      attestations[name] = attestation.map((each) => ({
        message: create(AttestationSchema, { ...each, ref: undefined }),
        ref: this.get(each.ref?.id ?? ''),
      }));
    }
    const rest = Object.keys(attestations).length === 0 ? { metadata } : { metadata, attestations };
    const trees = message.result;
    switch (trees.case) {
      case 'ref':
        return { ref: this.get(trees.value.id), ...rest };
      case 'refDeprecated':
        return { ref: this.get(trees.value), ...rest };
      case 'refs': {
        const named = Object.entries(trees.value.refs).map(([name, { id }]) => [name, this.get(id)] as const);
        return { refs: new Map(named), ...rest };
      }
      case 'refsDeprecated': {
        const named = Object.entries(trees.value.refs).map(([name, id]) => [name, this.get(id)] as const);
        return { refs: new Map(named), ...rest };
      }
      default:
        return rest;
    }
  }
}
