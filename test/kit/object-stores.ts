/** Real servers of object stores on free ports of localhost: s3rver for S3, Azurite for Azure Blob Storage. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ObjectStoreSpec } from '../../src/object-store/index.ts';

export interface TestObjectServer {
  /** `127.0.0.1:41234` */
  readonly host: string;
  stop(): Promise<void>;
}

/** The keys that s3rver knows. */
export const s3Keys = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' };
/** The account that Azurite has, and its published key. */
export const azureAccount = 'devstoreaccount1';
export const azureKey =
  'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

/** s3rver with the bucket `caches`. It knows its keys by name and checks no signature. */
export function startS3(): Promise<TestObjectServer> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-s3-'));
  return started(dir, /listening on (127\.0\.0\.1:\d+)/, [
    // Its tokens of long lists are made with a cipher of old.
    '--openssl-legacy-provider',
    'node_modules/s3rver/bin/s3rver.js',
    ...['-d', dir, '-a', '127.0.0.1', '-p', '0', '--configure-bucket', 'caches'],
  ]);
}

/** The bucket of s3rver, or of a server in front of it. */
export function s3Spec(host: string): ObjectStoreSpec & { type: 's3' } {
  return {
    ...{ type: 's3', bucket: 'caches', region: 'us-east-1' },
    ...{ endpoint: `http://${host}`, pathStyle: true, keys: s3Keys },
  };
}

/** Azurite, without a container. */
export function startAzurite(): Promise<TestObjectServer> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-azurite-'));
  return started(dir, /listens on http:\/\/(127\.0\.0\.1:\d+)/, [
    '/usr/local/lib/drydock-test/azurite/node_modules/azurite/dist/src/blob/main.js',
    ...['--blobPort', '0', '--inMemoryPersistence', '--skipApiVersionCheck'],
    '--disableTelemetry',
  ]);
}

/** A container of Azurite, which is made when something is written. */
export function azureSpec(host: string): ObjectStoreSpec & { type: 'azblob' } {
  return {
    ...{ type: 'azblob', accountUrl: `http://${host}/${azureAccount}`, container: 'caches' },
    proof: { type: 'key', account: azureAccount, key: azureKey },
  };
}

async function started(dir: string, ready: RegExp, args: string[]): Promise<TestObjectServer> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const killer = () => child.kill('SIGKILL');
  process.once('exit', killer);
  const stop = async () => {
    process.off('exit', killer);
    await ended(child);
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    return { host: await hostOf(child, ready), stop };
  } catch (err) {
    await stop();
    throw err;
  }
}

function hostOf(child: ChildProcess, ready: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let log = '';
    const timer = setTimeout(() => reject(new Error(`the server is not up after 60 s:\n${log}`)), 60_000);
    const read = (data: Buffer) => {
      // Later lines are read as well, or the server would wait.
      log = `${log}${data}`.slice(-10_000);
      const found = ready.exec(log)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}:\n${log}`)));
  });
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
    return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}
