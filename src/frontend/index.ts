/**
 * From a Dockerfile to LLB. `dockerfileFrontend` converts it, and a `FrontendHost` reads files and resolves images for
 * it.
 */

export type { Base, Dockerfile, Stage } from './dockerfile/ast.ts';
export { dockerfileFrontend } from './dockerfile/frontend.ts';
export { unknownOptions } from './dockerfile/known-options.ts';
export { fixDockerfile, type Replacement, replacementsOf } from './dockerfile/lint/fix.ts';
export { parseDockerfile, parseInTurns } from './dockerfile/parse/parse.ts';
export { dockerfileRequest, type FrontendOptions, optionsOf } from './dockerfile/request-options.ts';
export { answerSubrequest } from './dockerfile/subrequests/answer.ts';
export { lintResults } from './dockerfile/subrequests/lint.ts';
export { withPrefix } from './dockerfile/with-prefix.ts';
export { dockerfileAt } from './dockerfile-url.ts';
export type {
  ContextSource,
  DockerfileRequest,
  FrontendHost,
  FrontendResult,
  FrontendTarget,
  FrontendTree,
  LintWarning,
  ResolvedImage,
} from './types.ts';
