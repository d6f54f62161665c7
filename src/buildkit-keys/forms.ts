/** The digests of an op in the forms that BuildKit's releases write it in. */
import { type GoForm, type GoValue, goJson } from '../llb/index.ts';
import { type Digest, digestOf } from '../oci/index.ts';

const forms: readonly GoForm[] = ['now', 'old'];

/** The digests of a struct's JSON, today's first; equal ones once. */
export function digestsOf(struct: (form: GoForm) => GoValue): Digest[] {
  return [...new Set(forms.map((form) => digestOf(goJson(struct(form)))))];
}
