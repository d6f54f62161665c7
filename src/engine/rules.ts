/** The rules under which all definitions of a build are read. */
import type { DeviceRegistry } from '../cdi/index.ts';
import { DrydockError, fail } from '../errors/index.ts';
import {
  checkCaps,
  create,
  type Graph,
  loadGraphInTurns,
  NetMode,
  SourceOpSchema,
  type SourceRewrite,
} from '../llb/index.ts';
import type { Definition, SourceOp } from '../pb/solver/pb/ops_pb.js';
import type { SourceJudge } from './bridge/source-judge.ts';
import { deviceRewrite } from './devices.ts';
import { checkEntitlements } from './entitlements.ts';

interface RulesOptions {
  /** The entitlements that the build was granted. */
  allow: readonly string[];
  /** Source policies: they put one source in the place of another, or deny it. */
  rewrite?: SourceRewrite;
  /** The client's own policy, asked after `rewrite`. */
  judge?: SourceJudge;
  /** Has all steps with a network go by the proxy. */
  proxied?: boolean;
  /** The devices that steps may have. */
  devices: DeviceRegistry;
  /** Is given each definition that was read. */
  loaded?(graph: Graph): void;
}

/**
 * The rules of one build. They are made with the build and do not change; every definition that the build solves is
 * read by `load`, whoever brings it.
 */
export class Rules {
  readonly allow: readonly string[];
  readonly rewrite: SourceRewrite | undefined;
  readonly judge: SourceJudge | undefined;
  readonly proxied: boolean;
  readonly #devices: DeviceRegistry;
  readonly #loaded: RulesOptions['loaded'];
  #hasNetworkSteps = false;

  constructor({ allow, rewrite, judge, devices, proxied = false, loaded }: RulesOptions) {
    this.allow = allow;
    this.rewrite = rewrite;
    this.judge = judge;
    this.proxied = proxied;
    this.#devices = devices;
    this.#loaded = loaded;
  }

  /**
   * Holds a URL that a step asks for by the proxy against the rules for sources, and returns the URL to ask in its place.
   * Throws `denied`.
   */
  async judgeUrl(url: string): Promise<string> {
    const asked = create(SourceOpSchema, { identifier: url });
    let source = this.rewrite?.(asked) ?? asked;
    if (this.judge !== undefined) source = await this.judge(source);
    if (Object.keys(source.attrs).length > 0) {
      throw fail('denied', 'solver', `the source policy wants more of ${url} than a proxy can do`);
    }
    return source.identifier;
  }

  /** Whether a definition of the build has steps with the usual network. */
  get hasNetworkSteps(): boolean {
    return this.#hasNetworkSteps;
  }

  /**
   * Reads a definition and checks it against the rules. `own` is applied to the definition's sources before the build's
   * rewrite. Throws `invalid` and `unsupported` (hop `llb`) for a definition that cannot be built, and `denied` for one
   * that may not be.
   */
  async load(definition: Definition, signal: AbortSignal, own?: SourceRewrite): Promise<Graph> {
    const rewrite = inTurn(own, this.rewrite);
    const { proxied } = this;
    const ruled = await loadGraphInTurns(definition, { rewrite, proxied, signal });
    const judged = this.judge === undefined ? undefined : await judgeAll(ruled, this.judge);
    const devices = await deviceRewrite(ruled, this.allow, this.#devices);
    const graph =
      judged === undefined && devices === undefined
        ? ruled
        : await loadGraphInTurns(definition, { rewrite: inTurn(rewrite, judged), devices, proxied, signal });
    checkCaps(definition);
    checkEntitlements(graph, this.allow);
    this.#hasNetworkSteps ||= graph.vertices.some(
      ({ op: { op } }) => op.case === 'exec' && op.value.network === NetMode.UNSET,
    );
    const nested = graph.vertices.find(({ op }) => op.op.case === 'build');
    if ((rewrite !== undefined || this.judge !== undefined) && nested !== undefined) {
      // Its result may be cached from a build without the policy.
      throw fail(
        'unsupported',
        'llb',
        'a source policy cannot be held against a definition in a definition',
        { step: nested.name },
      );
    }
    this.#loaded?.(graph);
    return graph;
  }
}

/**
 * The changes that the client's policy makes to the sources of a graph; undefined when all of them stay as they are.
 */
async function judgeAll(graph: Graph, judge: SourceJudge): Promise<SourceRewrite | undefined> {
  const after = new Map<string, SourceOp>();
  const nameOf = ({ identifier, attrs }: SourceOp) =>
    JSON.stringify([identifier, Object.entries(attrs).sort(([a], [b]) => (a < b ? -1 : 1))]);
  await Promise.all(
    graph.vertices.map(async ({ op: { op, platform }, name, source: location }) => {
      if (op.case !== 'source') return;
      try {
        const judged = await judge(op.value, platform);
        if (judged !== op.value) after.set(nameOf(op.value), judged);
      } catch (err) {
        if (err instanceof DrydockError) {
          err.step ??= name;
          err.source ??= location;
        }
        throw err;
      }
    }),
  );
  return after.size === 0 ? undefined : (source) => after.get(nameOf(source)) ?? source;
}

/** Two rewrites as one: the first, then the second. */
export function inTurn(first?: SourceRewrite, second?: SourceRewrite): SourceRewrite | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return (source) => second(first(source));
}
