import { fail } from '../errors/error.ts';
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

/** Canonical architecture and variant names, as containerd's platforms package writes them (arm64 has no variant v8, x86_64 is amd64). */
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
  const os = p.os.toLowerCase() === 'macos' ? 'darwin' : p.os.toLowerCase();
  const out: Platform = { architecture, os };
  if (variant !== undefined) out.variant = variant;
  if (p['os.version']) out['os.version'] = p['os.version'];
  if (p['os.features']?.length) out['os.features'] = p['os.features'];
  return out;
}

/** `linux/arm64/v8`, `arm64`, `linux` → Platform; parts left out are the host's. Throws `invalid`. */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/');
  if (parts.length > 3 || parts.some((part) => !/^[A-Za-z0-9_.()-]+$/.test(part))) {
    throw fail('invalid', 'client', `invalid platform ${JSON.stringify(text)}: want os[/arch[/variant]]`);
  }
  const host = hostPlatform();
  const [first = '', second, third] = parts;
  if (second === undefined) {
    const known = ['linux', 'windows', 'darwin', 'freebsd', 'wasi'];
    if (known.includes(first.toLowerCase())) return normalizePlatform({ ...host, os: first });
    return normalizePlatform({ os: 'linux', architecture: first });
  }
  return normalizePlatform({ os: first, architecture: second, variant: third });
}

/** `linux/arm/v7` */
export function formatPlatform(p: Platform): string {
  const n = normalizePlatform(p);
  return [n.os, n.architecture, n.variant].filter((part) => part !== undefined).join('/');
}

/** Whether an image for `have` runs where `want` is asked for (an arm v6 image on v7, 386 is not amd64). */
export function platformMatches(want: Platform, have: Platform): boolean {
  return platformScore(want, have) > 0;
}

/** 0 when it does not match; higher is a better match. */
export function platformScore(want: Platform, have: Platform): number {
  const w = normalizePlatform(want);
  const h = normalizePlatform(have);
  if (w.os !== h.os || w.architecture !== h.architecture) return 0;
  if (w.variant === h.variant) return 100;
  const wv = Number(w.variant?.slice(1) ?? (w.architecture === 'arm64' ? 8 : 1));
  const hv = Number(h.variant?.slice(1) ?? (h.architecture === 'arm64' ? 8 : 1));
  if (Number.isNaN(wv) || Number.isNaN(hv)) return 0;
  return hv <= wv ? 50 + hv : 0;
}

/** The `PATH` that images have which say nothing of it. */
export function defaultPath(os: string): string {
  return os === 'windows'
    ? 'c:\\Windows\\System32;c:\\Windows'
    : '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
}
