/** Turns states into BuildKit's wire form. Nothing here recurses: graphs may be tens of thousands of ops deep. */

import type { SourceLocation } from '../errors/index.ts';
import { bytesOf } from '../linux/index.ts';
import { type Digest, digestOf, hostPlatform, type Platform } from '../oci/index.ts';
import type { Definition, OpMetadata, Source } from '../pb/solver/pb/ops_pb.js';
import { definitionFrom } from './definition-json.ts';
import { GivenNode } from './given.ts';
import { type InputTable, type OpNode, type OpOptions, type OutputRef, settle } from './op.ts';
import {
  create,
  DefinitionSchema,
  InputSchema,
  OpMetadataSchema,
  OpSchema,
  SourceSchema,
  toBinary,
} from './pb.ts';
import type { State } from './state.ts';

export interface MarshalOptions {
  /** The platform of ops that name none; default: this host's. */
  platform?: Platform;
}

/**
 * Makes the definition of one or several states. Equal graphs give equal bytes, and equal ops one digest. The last op
 * only names the outputs. A scratch state gives an empty definition.
 *
 *     marshal([image('alpine').run('make'), local('context')]); // two outputs
 */
export function marshal(states: State | readonly State[], options: MarshalOptions = {}): Definition {
  const list = Array.isArray(states) ? (states as readonly State[]) : [states as State];
  const outputs = list.map((state) => settle(state.output)).filter((output) => output !== undefined);
  const definition = create(DefinitionSchema, {});
  if (outputs.length === 0) return definition;
  const writer = new DefinitionWriter(definition, options.platform ?? hostPlatform());
  for (const output of outputs) writer.add(output.node);
  writer.finish(outputs);
  return definition;
}

class DefinitionWriter {
  readonly #definition: Definition;
  readonly #platform: Platform;
  readonly #digests = new Map<OpNode, Digest>();
  readonly #sources = new SourceTable();

  constructor(definition: Definition, platform: Platform) {
    this.#definition = definition;
    this.#platform = platform;
  }

  /** Writes a node after all nodes that it reads. */
  add(root: OpNode): void {
    const stack: { node: OpNode; inputs: Iterator<OutputRef> }[] = [];
    const visit = (node: OpNode) => {
      if (!this.#digests.has(node)) stack.push({ node, inputs: node.inputs()[Symbol.iterator]() });
    };
    visit(root);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.inputs.next();
      if (next.done) {
        stack.pop();
        if (!this.#digests.has(top.node)) this.#write(top.node);
        continue;
      }
      const output = settle(next.value);
      if (output !== undefined) visit(output.node);
    }
  }

  #write(node: OpNode): void {
    if (node instanceof GivenNode) {
      this.#take(node);
      return;
    }
    const inputs = this.#inputTable();
    const op = node.encode(inputs, node.options.platform ?? this.#platform);
    op.inputs = inputs.list.map((input) => create(InputSchema, input));
    const bytes = toBinary(OpSchema, op);
    const digest = digestOf(bytes);
    this.#digests.set(node, digest);
    const { metadata, def } = this.#definition;
    const known = metadata[digest];
    if (known === undefined) def.push(bytes);
    metadata[digest] = mergeMetadata(known, node.options, node.caps);
    if (node.options.location !== undefined) this.#sources.add(digest, node.options.location);
  }

  /** Takes a definition over as it is. An op that comes twice does no harm. */
  #take(node: GivenNode): void {
    const { definition, digest, count } = node;
    const { metadata, def } = this.#definition;
    for (let i = 0; i < count; i++) def.push(definition.def[i] as Uint8Array);
    for (const [key, value] of Object.entries(definition.metadata)) metadata[key] ??= value;
    if (definition.Source !== undefined) this.#sources.addAll(definition.Source);
    this.#digests.set(node, digest);
  }

  #inputTable(): InputTable {
    const list: { digest: string; index: bigint }[] = [];
    const known = new Map<string, number>();
    const append = (ref: OutputRef): number => {
      const output = settle(ref);
      if (output === undefined) return -1;
      list.push({ digest: this.#digests.get(output.node) ?? '', index: BigInt(output.index) });
      return list.length - 1;
    };
    return {
      list,
      append,
      add: (ref) => {
        const output = settle(ref);
        if (output === undefined) return -1;
        const key = `${this.#digests.get(output.node)} ${output.index}`;
        let at = known.get(key);
        if (at === undefined) {
          at = append(output);
          known.set(key, at);
        }
        return at;
      },
    };
  }

  /** Writes the closing op, which has inputs and does nothing. */
  finish(outputs: readonly { node: OpNode; index: number }[]): void {
    const op = create(OpSchema, {
      inputs: outputs.map(({ node, index }) => ({
        digest: this.#digests.get(node) ?? '',
        index: BigInt(index),
      })),
    });
    const bytes = toBinary(OpSchema, op);
    const caps: Record<string, boolean> = { constraints: true, platform: true };
    for (const metadata of Object.values(this.#definition.metadata)) {
      if (metadata.ignoreCache) caps['meta.ignorecache'] = true;
      if (Object.keys(metadata.description).length > 0) caps['meta.description'] = true;
    }
    this.#definition.def.push(bytes);
    this.#definition.metadata[digestOf(bytes)] = create(OpMetadataSchema, { caps: sorted(caps) });
    this.#definition.Source = this.#sources.message();
  }
}

/** Merges the metadata of one digest: later nodes of the same op add to that of earlier ones. */
function mergeMetadata(
  known: OpMetadata | undefined,
  options: OpOptions,
  caps: readonly string[],
): OpMetadata {
  const description = { ...known?.description, ...options.description };
  if (options.name !== undefined) description['llb.customname'] = options.name;
  const allCaps = { ...known?.caps };
  for (const cap of [...caps, ...(options.caps ?? [])]) allCaps[cap] = true;
  const group = options.progressGroup;
  return create(OpMetadataSchema, {
    ignoreCache: (known?.ignoreCache ?? false) || (options.ignoreCache ?? false),
    description: sorted(description),
    caps: sorted(allCaps),
    progressGroup: group
      ? { id: group.id, name: group.name, weak: group.weak ?? false }
      : known?.progressGroup,
  });
}

function sorted<T>(record: Record<string, T>): Record<string, T> {
  const keys = Object.keys(record);
  return Object.fromEntries(keys.sort().map((key) => [key, record[key] as T]));
}

/** The source files that locations name, each listed once. */
class SourceTable {
  readonly #infos: { filename: string; data: Uint8Array; language: string; definition?: Definition }[] = [];
  readonly #index = new Map<string, Map<string, number>>();
  readonly #locations: Record<
    string,
    { locations: { sourceIndex: number; ranges: SourceLocation['ranges'] }[] }
  > = {};

  add(digest: Digest, location: SourceLocation & { language?: string }): void {
    let byName = this.#index.get(location.text);
    if (byName === undefined) {
      byName = new Map();
      this.#index.set(location.text, byName);
    }
    let sourceIndex = byName.get(location.filename);
    if (sourceIndex === undefined) {
      sourceIndex = this.#infos.length;
      byName.set(location.filename, sourceIndex);
      this.#infos.push({
        filename: location.filename,
        data: bytesOf(location.text),
        language: location.language ?? '',
        definition: location.definition && definitionFrom(location.definition),
      });
    }
    this.#locations[digest] ??= { locations: [] };
    this.#locations[digest].locations.push({ sourceIndex, ranges: location.ranges });
  }

  /** Adds the files and places of another definition. */
  addAll({ infos, locations }: Source): void {
    const offset = this.#infos.length;
    this.#infos.push(...infos);
    for (const [digest, { locations: list }] of Object.entries(locations)) {
      this.#locations[digest] ??= {
        locations: list.map(({ sourceIndex, ranges }) => ({
          sourceIndex: sourceIndex + offset,
          ranges: ranges as SourceLocation['ranges'],
        })),
      };
    }
  }

  message(): Source | undefined {
    if (this.#infos.length === 0) return undefined;
    return create(SourceSchema, { infos: this.#infos, locations: this.#locations });
  }
}
