/** Questions to a daemon's frontend, as buildx asks them: `drydock build --call`, `--check` (`frontend.lint`). */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { DrydockError, fail, type SourceLocation } from '../../errors/index.ts';
import type { LintWarning } from '../../frontend/index.ts';
import { LLBBridge, type SolveRequestSchema } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { OwnFrontend } from './solve.ts';

type Asked = Pick<MessageInitShape<typeof SolveRequestSchema>, 'FrontendOpt' | 'FrontendInputs'>;

/** What the frontend answers to the question that the option `requestid` names: `result.json`, `result.txt` …. */
export async function answerOf(
  { transport, call }: OwnFrontend,
  { FrontendOpt, FrontendInputs }: Asked,
): Promise<Readonly<Record<string, Uint8Array>>> {
  const bridge = createClient(LLBBridge, transport);
  const asked = {
    Frontend: 'dockerfile.v0',
    FrontendOpt: { ...FrontendOpt, 'frontend.caps': 'moby.buildkit.frontend.subrequests+forward' },
    FrontendInputs,
    allowResultReturn: true,
    allowResultArrayRef: true,
  };
  const { result } = await bridge.solve(asked, call);
  await bridge.return({ result: {} }, call);
  return result?.metadata ?? {};
}

/**
 * The findings of the build checks. When the Dockerfile cannot be built, `tell` gets the findings all the same, and
 * then the error is thrown, with its lines.
 */
export async function lintFindings(
  own: OwnFrontend,
  request: Asked,
  tell: (warning: LintWarning) => void,
): Promise<LintWarning[]> {
  const FrontendOpt = { ...request.FrontendOpt, requestid: 'frontend.lint' };
  const { 'result.json': json } = await answerOf(own, { ...request, FrontendOpt });
  if (json === undefined) {
    throw fail('unsupported', 'frontend', 'the frontend gives no list of findings', {
      hint: 'The Dockerfile names another frontend in its `# syntax=` line, which does not know build checks.',
    });
  }
  const { found, failure } = findingsOf(JSON.parse(Buffer.from(json).toString('utf8')) as LintResults);
  for (const warning of found) tell(warning);
  if (failure !== undefined) throw failure;
  return found;
}

/** The answer, in the form of https://github.com/moby/buildkit/tree/master/frontend/subrequests/lint. */
interface LintResults {
  warnings?: {
    ruleName: string;
    description: string;
    url?: string;
    detail: string;
    location?: LintLocation;
  }[];
  sources?: { filename: string; data?: string }[];
  buildError?: { message: string; location?: LintLocation };
}

interface LintLocation {
  sourceIndex?: number;
  ranges?: { start?: Position; end?: Position }[];
}

interface Position {
  line?: number;
  character?: number;
}

function findingsOf({ warnings = [], sources = [], buildError }: LintResults): {
  found: LintWarning[];
  failure?: DrydockError;
} {
  const locate = ({ sourceIndex = 0, ranges = [] }: LintLocation = {}): SourceLocation => {
    const { filename = 'Dockerfile', data = '' } = sources[sourceIndex] ?? {};
    const at = ({ line = 0, character = 0 }: Position = {}) => ({ line, character });
    return {
      filename,
      text: Buffer.from(data, 'base64').toString('utf8'),
      ranges: ranges.map(({ start, end }) => ({ start: at(start), end: at(end) })),
    };
  };
  const found = warnings.map(({ ruleName, description, url = '', detail, location }) => ({
    rule: ruleName,
    message: detail,
    description,
    url,
    location: locate(location),
  }));
  // With `--check` the findings are what was asked for, also where they would fail a build.
  if (buildError === undefined || buildError.message.startsWith('lint violation found')) return { found };
  const { message, location } = buildError;
  return {
    found,
    failure: new DrydockError(message, { code: 'invalid', hop: 'frontend', source: locate(location) }),
  };
}
