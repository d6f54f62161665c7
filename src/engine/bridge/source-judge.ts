/**
 * Checks sources, one by one, against a policy that the client itself decides (buildx: a `.rego` file beside the
 * Dockerfile).
 */
import { fail } from '../../errors/index.ts';
import { canonicalSource } from '../../llb/index.ts';
import type {
  ResolveSourceMetaRequest,
  ResolveSourceMetaResponse,
} from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { CheckPolicyResponse, DecisionResponse } from '../../pb/session/policy_pb.js';
import type { Platform, SourceOp } from '../../pb/solver/pb/ops_pb.js';
import type { PolicyQuestion } from '../../session/index.ts';

/** Returns the source that the build may use: the same object when the policy changes nothing. Throws `denied`. */
export type SourceJudge = (source: SourceOp, platform?: Platform) => Promise<SourceOp>;

export type PolicyCheck = (question: PolicyQuestion) => Promise<CheckPolicyResponse>;

/**
 * The largest number of rounds about one source, as in BuildKit. In a round the policy asks to know more of the source,
 * or puts another one in its place.
 */
const maxRounds = 10;
/** The numbers of the wire format's enum. */
const action = { allow: 0, deny: 1, convert: 2 };

/**
 * A judge that asks `check`. When the policy wants to know more of a source, `meta` looks it up. Each source is judged
 * once in a build.
 */
export function sourceJudge(
  check: PolicyCheck,
  meta: (request: ResolveSourceMetaRequest) => Promise<ResolveSourceMetaResponse>,
): SourceJudge {
  const known = new Map<string, Promise<Facts>>();
  return async (source, platform) => {
    const named = canonicalSource(source);
    const key = JSON.stringify([factsOf(named), platform && platformInit(platform)]);
    let judged = known.get(key);
    if (judged === undefined) {
      judged = judge(named, platform, check, meta);
      known.set(key, judged);
    }
    const after = await judged;
    return same(after, factsOf(named)) ? source : { ...source, ...after };
  };
}

/** The parts of a source that name it. */
type Facts = Pick<SourceOp, 'identifier' | 'attrs'>;

async function judge(
  source: SourceOp,
  platform: Platform | undefined,
  check: PolicyCheck,
  meta: (request: ResolveSourceMetaRequest) => Promise<ResolveSourceMetaResponse>,
): Promise<Facts> {
  let current = factsOf(source);
  let Source: PolicyQuestion['Source'] = { Source: current };
  for (let round = 0; round < maxRounds; round++) {
    const { result } = await check({ Source, Platform: platform && platformInit(platform) });
    if (result.case === 'request') {
      if (result.value.Source === undefined || !same(factsOf(result.value.Source), current)) {
        throw fail('invalid', 'client', `the source policy asks about another source than ${shown(current)}`);
      }
      const { Image, Git, HTTP } = await meta(result.value);
      Source = { Image, Git, HTTP, Source: current };
      continue;
    }
    if (result.case === undefined) throw fail('invalid', 'client', 'no decision in policy response');
    const { action: kind, update } = result.value;
    if (kind === action.allow) return current;
    if (kind !== action.convert) throw denied(current, result.value);
    if (update === undefined) throw fail('invalid', 'client', 'the source policy converts to no source');
    current = factsOf(update);
    Source = { Source: current };
  }
  throw fail('invalid', 'client', `too many policy requests about ${shown(current)}`);
}

function denied(source: Facts, { denyMessages }: DecisionResponse) {
  const messages = denyMessages.map(({ message }) => message).filter(Boolean);
  const why = messages.length === 0 ? '' : `: ${messages.join('; ')}`;
  return fail('denied', 'solver', `source ${shown(source)} not allowed by policy: action DENY${why}`, {
    hint: 'The client’s own policy refuses it: use another source, or change the policy.',
    details: { source: source.identifier, ...(why === '' ? {} : { denyMessages: messages.join('\n') }) },
  });
}

function factsOf({ identifier, attrs }: Facts): Facts {
  return {
    identifier,
    attrs: Object.fromEntries(Object.entries(attrs).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

function same(a: Facts, b: Facts): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function shown({ identifier }: Facts): string {
  return JSON.stringify(identifier);
}

function platformInit({ OS, Architecture, Variant, OSVersion, OSFeatures }: Platform) {
  return { OS, Architecture, Variant, OSVersion, OSFeatures: [...OSFeatures] };
}
