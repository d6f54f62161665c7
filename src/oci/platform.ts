import { type DrydockError, fail } from '../errors/index.ts';
import type { Platform } from './types.ts';

const archNames: Record<string, string> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
  ppc64: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
};

/** The platform this process runs on. */
export function hostPlatform(): Platform {
  const architecture = archNames[process.arch] ?? process.arch;
  return normalizePlatform({ os: 'linux', architecture });
}

/**
 * Canonical names of architecture and variant, in the form of containerd's platforms package (arm64 has no variant v8,
 * x86_64 is amd64).
 */
export function normalizePlatform(p: Platform): Platform {
  let architecture = p.architecture.toLowerCase();
  let variant = p.variant?.toLowerCase() || undefined;
  switch (architecture) {
    case 'i386':
      architecture = '386';
      variant = undefined;
      break;
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      architecture = 'amd64';
      if (variant === 'v1') variant = undefined;
      break;
    case 'aarch64':
    case 'arm64':
      architecture = 'arm64';
      if (variant === '8' || variant === 'v8') variant = undefined;
      break;
    case 'armhf':
      architecture = 'arm';
      variant = 'v7';
      break;
    case 'armel':
      architecture = 'arm';
      variant = 'v6';
      break;
    case 'arm':
      if (variant === undefined || variant === '7') variant = 'v7';
      else if (/^[5-8]$/.test(variant)) variant = `v${variant}`;
      break;
  }
  const out: Platform = { architecture, os: normalizeOs(p.os) };
  if (variant !== undefined) out.variant = variant;
  if (p['os.version']) out['os.version'] = p['os.version'];
  const features = [...new Set(p['os.features'])].sort();
  if (features.length > 0) out['os.features'] = features;
  return out;
}

function normalizeOs(os: string): string {
  const lower = os.toLowerCase();
  return lower === 'macos' ? 'darwin' : lower;
}

/** Go's names, each of which may stand alone for a platform. When both parts are given, any word may be used. */
const knownOs = new Set(
  'aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows zos'.split(
    ' ',
  ),
);
const knownArchitectures = new Set(
  (
    '386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le mips64p32 ' +
    'mips64p32le ppc riscv riscv64 s390 s390x sparc sparc64 wasm'
  ).split(' '),
);

/** A system with its version and features: `linux`, `windows(10.0.17763)`, `windows(10.0.17763+win32k)`. */
const osPattern = /^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$/;
const partPattern = /^[A-Za-z0-9_.-]+$/;

/**
 * Parses `linux/arm64/v8`, `arm64`, `linux`, `windows(10.0.20348)/amd64`. Missing parts are the host's. Throws
 * `invalid` in containerd's words (https://github.com/containerd/platforms).
 */
export function parsePlatform(text: string): Platform {
  const [first = '', second, third, ...more] = text.split('/');
  const os = osPattern.exec(first);
  if (os === null) {
    const want = `OSAndVersion specifier component must match ${quote(osPattern.source)}`;
    throw invalid(`${quote(first)} is an invalid OS component of ${quote(text)}: ${want}`);
  }
  const bad = [second, third].find((part) => part !== undefined && !partPattern.test(part));
  if (bad !== undefined) {
    const want = `platform specifier component must match ${quote(partPattern.source)}`;
    throw invalid(`${quote(bad)} is an invalid component of ${quote(text)}: ${want}`);
  }
  if (more.length > 0) throw invalid(`${quote(text)}: cannot parse platform specifier`);
  const [, name = '', version = '', features = ''] = os;
  const rest = {
    'os.version': decode(version, text),
    'os.features': features
      .split('+')
      .slice(1)
      .map((feature) => decode(feature, text)),
  };
  if (second !== undefined)
    return normalizePlatform({ os: name, architecture: second, variant: third, ...rest });
  const host = hostPlatform();
  if (knownOs.has(normalizeOs(name))) return normalizePlatform({ ...host, os: name, ...rest });
  const alone = normalizePlatform({ os: host.os, architecture: first });
  if (knownArchitectures.has(alone.architecture)) return alone;
  throw invalid(`${quote(text)}: unknown operating system or architecture`);
}

/** The largest number of platforms in one build: each is converted, solved and exported. */
const maxPlatforms = 128;

/**
 * Parses the platforms of a build in order, without repeats, and stops as soon as there are too many. Throws the errors
 * of `parse`, and `invalid` for more platforms than a build may have.
 */
export function distinctPlatforms(texts: readonly string[], parse = parsePlatform): Platform[] {
  const written = new Set(texts);
  const distinct = new Map<string, Platform>();
  for (const text of written) {
    const platform = parse(text);
    distinct.set(formatPlatform(platform), platform);
    if (distinct.size > maxPlatforms) {
      throw invalid(`a build is for at most ${maxPlatforms} platforms, not for ${written.size}`);
    }
  }
  return [...distinct.values()];
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}

function invalid(message: string): DrydockError {
  return fail('invalid', 'client', `${message}: invalid argument`, {
    hint: 'A platform is written os/architecture or os/architecture/variant, for example linux/arm64.',
  });
}

function decode(part: string, text: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid(`${quote(part)} is an invalid OS component of ${quote(text)}`);
  }
}

function encode(part: string): string {
  return part.replace(/[%+()/]/g, encodeURIComponent).replace(/[()]/g, (c) => (c === '(' ? '%28' : '%29'));
}

/** Writes a platform: `linux/arm/v7`, `windows(10.0.20348)/amd64`. The inverse of `parsePlatform`. */
export function formatPlatform(p: Platform): string {
  const { os, architecture, variant, ...rest } = normalizePlatform(p);
  const more = [rest['os.version'] ?? '', ...(rest['os.features'] ?? [])].map(encode).join('+');
  const parts = [more === '' ? os : `${os}(${more})`, architecture, variant];
  return parts.filter((part) => part !== undefined).join('/');
}

/** Whether an image for `have` runs on `want` (an arm v6 image does on v7; a 386 image does not on amd64). */
export function platformMatches(want: Platform, have: Platform): boolean {
  return platformScore(want, have) > 0;
}

/** How well an image for `have` fits `want`: 0 when it does not match, higher for a better match. */
export function platformScore(want: Platform, have: Platform): number {
  const w = normalizePlatform(want);
  const h = normalizePlatform(have);
  if (w.os !== h.os || w.architecture !== h.architecture || !systemMatches(w, h)) return 0;
  if (w.variant === h.variant) return w['os.version'] === h['os.version'] ? 101 : 100;
  const wv = Number(w.variant?.slice(1) ?? (w.architecture === 'arm64' ? 8 : 1));
  const hv = Number(h.variant?.slice(1) ?? (h.architecture === 'arm64' ? 8 : 1));
  if (Number.isNaN(wv) || Number.isNaN(hv)) return 0;
  return hv <= wv ? 50 + hv : 0;
}

/**
 * Windows runs images of its own build (the version's first three numbers). Features that an image needs must be
 * wanted.
 */
function systemMatches(want: Platform, have: Platform): boolean {
  const features = have['os.features']?.filter((each) => each !== 'win32k') ?? [];
  if (!features.every((each) => want['os.features']?.includes(each))) return false;
  const [wanted, there] = [want, have].map((p) => p['os.version']?.split('.').slice(0, 3).join('.'));
  return want.os !== 'windows' || wanted === undefined || there === undefined || wanted === there;
}

/** The `PATH` of processes whose environment has none. */
export function defaultPath(os: string): string {
  return os === 'windows'
    ? 'c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0'
    : '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
}

/** The environment of images that declare none: Windows knows its own path. */
export function defaultEnv(os: string): string[] | undefined {
  return os === 'windows' ? undefined : [`PATH=${defaultPath(os)}`];
}
