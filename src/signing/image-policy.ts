/** Holds an image policy in force: reads its files, and remembers which images have been found to be signed. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { readPolicyText } from '../auth/index.ts';
import type { ImageTrust } from '../distribution/index.ts';
import { DrydockError, fail, offline } from '../errors/index.ts';
import { type Digest, familiarName, parseReference } from '../oci/index.ts';
import { fitsWildcards } from '../patterns/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import { type ImageRule, parseImagePolicy, type SignerText } from './image-policy-text.ts';
import { readSmallFile } from './key-source.ts';
import { readPublicKeys } from './keys.ts';
import { identitySigner, keySigner } from './signers.ts';
import { publicRoot, readTrustedRoot } from './trusted-root.ts';
import { verifyImage, type WantedSigner } from './verify-image.ts';

/** A rule with what its files say. */
interface ReadyRule extends ImageRule {
  signers: readonly WantedSigner[];
  /** A digest of the rule and of the files that it names. */
  digest: string;
}

/** A policy that is kept in a file. It is read again when the file, or one that it names, has changed. */
export class ImagePolicy implements ImageTrust {
  readonly #file: string;
  readonly #registry: RegistryClient;
  readonly #folder: string;
  #read: Promise<{ rules: ReadyRule[]; stamp: string; files: string[] }> | undefined;

  /** `folder` keeps the digests of images that were found to be signed, and the public root. */
  constructor(file: string, registry: RegistryClient, folder: string) {
    this.#file = resolve(file);
    this.#registry = registry;
    this.#folder = folder;
  }

  /** The rules, as they are now. Throws `invalid` with line and column, and `not-found` for a file. */
  async rules(): Promise<readonly ReadyRule[]> {
    const known = await this.#read?.catch(() => undefined);
    if (known !== undefined && known.stamp === stampOf(known.files)) return known.rules;
    this.#read = this.#load();
    return (await this.#read).rules;
  }

  check: ImageTrust['check'] = async (name, { target, manifest }, ctx) => {
    const { domain, path } = parseReference(name);
    const repository = `${domain}/${path}`;
    const rule = (await this.rules()).find((each) => fitsWildcards(each.name, repository, '?'));
    if (rule === undefined || rule.must === 'nothing') return;
    const shown = familiarName(name);
    if (rule.must === 'refuse') {
      throw fail('denied', 'host', `${shown}: the image policy lets no build use this image`, {
        hint: `The rule for ${JSON.stringify(rule.name)} in ${this.#file} says so.`,
      });
    }
    const digests = [...new Set([target.digest, ...(manifest === undefined ? [] : [manifest.digest])])];
    const memos = digests.map((digest) => this.#memo(rule, repository, digest));
    if (memos.some((memo) => existsSync(memo))) return;
    if (ctx.offline) throw offline('registry', `no signature of ${shown} was ever checked here`);
    let failure: unknown;
    for (const [i, digest] of digests.entries()) {
      try {
        const wanted = { signers: rule.signers, annotations: rule.annotations };
        await verifyImage(this.#registry, name, digest, wanted, ctx);
        this.#remember(memos[i] as string);
        return;
      } catch (err) {
        // An index that nobody has signed may list an image that somebody has.
        failure ??= err;
        if (!(err instanceof DrydockError) || err.code !== 'denied') break;
      }
    }
    throw this.#explained(failure, shown);
  };

  #explained(err: unknown, name: string): unknown {
    if (!(err instanceof DrydockError) || err.code === 'canceled') return err;
    const hint = `${this.#file} asks for a signature of this image.`;
    if (err.code === 'denied' && err.hop === 'registry') {
      err.hint = `${hint} ${err.hint ?? ''}`.trim();
      return err;
    }
    return fail(
      err.code,
      err.hop ?? 'registry',
      `the signatures of ${name} cannot be looked up: ${err.message}`,
      {
        cause: err,
        hint,
      },
    );
  }

  async #load(): Promise<{ rules: ReadyRule[]; stamp: string; files: string[] }> {
    const files = [this.#file];
    const folder = dirname(this.#file);
    const read = async (path: string, what: string) => {
      const at = resolve(folder, path);
      if (!files.includes(at)) files.push(at);
      return readSmallFile(at, what);
    };
    const text = readPolicyText(this.#file, process.geteuid?.() ?? 0);
    const parsed = parseImagePolicy(text, this.#file);
    // What changes while the files are read is read again at the next question.
    const named = parsed.flatMap(({ must, trustedRoot }) => [
      ...(typeof must === 'string' ? [] : must.flatMap((signer) => ('key' in signer ? [signer.key] : []))),
      ...(trustedRoot === undefined ? [] : [trustedRoot]),
    ]);
    const stamp = stampOf([this.#file, ...new Set(named.map((path) => resolve(folder, path)))]);
    const rules: ReadyRule[] = [];
    for (const rule of parsed) rules.push(await this.#ready(rule, read));
    return { rules, stamp, files: [this.#file, ...new Set(named.map((path) => resolve(folder, path)))] };
  }

  async #ready(rule: ImageRule, read: (path: string, what: string) => Promise<string>): Promise<ReadyRule> {
    const texts: string[] = [JSON.stringify(rule)];
    const signers: WantedSigner[] = [];
    const { must, trustedRoot, transparencyLog } = rule;
    let own: ReturnType<typeof readTrustedRoot> | undefined;
    if (trustedRoot !== undefined) {
      const text = await read(trustedRoot, 'the trusted root');
      texts.push(text);
      own = readTrustedRoot(text, trustedRoot);
    }
    const roots = async () => own ?? (await publicRoot(join(this.#folder, 'sigstore')));
    for (const signer of typeof must === 'string' ? [] : must) {
      if ('key' in signer) {
        const text = await read(signer.key, 'the key');
        texts.push(text);
        const isLogged = transparencyLog ?? trustedRoot !== undefined;
        const keys = readPublicKeys(text, signer.key);
        signers.push(keySigner(`the key ${signer.key}`, keys, isLogged ? await roots() : undefined));
      } else signers.push(identityOf(signer, await roots(), transparencyLog === false));
    }
    const digest = createHash('sha256').update(JSON.stringify(texts)).digest('hex');
    return { ...rule, signers, digest };
  }

  #memo({ digest: rule }: ReadyRule, repository: string, digest: Digest): string {
    const key = createHash('sha256')
      .update(JSON.stringify([rule, repository, digest]))
      .digest('hex');
    return join(this.#folder, 'signed', key);
  }

  #remember(memo: string): void {
    mkdirSync(dirname(memo), { recursive: true, mode: 0o700 });
    writeFileSync(memo, '', { mode: 0o600 });
  }
}

function identityOf(
  signer: Exclude<SignerText, { key: string }>,
  roots: ReturnType<typeof readTrustedRoot>,
  ignoreTlog: boolean,
): WantedSigner {
  const pattern = (glob: string) => ({ shown: glob, test: (text: string) => fitsWildcards(glob, text, '?') });
  return identitySigner(pattern(signer.identity), pattern(signer.issuer), roots, ignoreTlog);
}

/** A text that tells one state of files from the next. */
function stampOf(files: readonly string[]): string {
  return files
    .map((file) => {
      const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
      return stat === undefined ? 'missing' : `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
    })
    .join(', ');
}
