import { expect, test } from 'vitest';
import { parseGitUrl, withoutCredentials } from '../../src/source/git-url.ts';

test('remotes of all protocols, with ref and folder', () => {
  expect(parseGitUrl('git://github.com/moby/buildkit.git#v1:/docs/')).toEqual({
    scheme: 'git',
    user: '',
    host: 'github.com',
    path: '/moby/buildkit.git',
    remote: 'git://github.com/moby/buildkit.git',
    ref: 'v1',
    subdir: 'docs',
  });
  expect(parseGitUrl('https://u:p@host:8443/a.git?x=y#refs/heads/feature/x')).toMatchObject({
    user: 'u:p',
    host: 'host:8443',
    remote: 'https://u:p@host:8443/a.git',
    ref: 'refs/heads/feature/x',
  });
  expect(parseGitUrl('git@github.com:moby/buildkit.git#main:sub')).toMatchObject({
    scheme: 'ssh',
    user: 'git',
    host: 'github.com',
    path: 'moby/buildkit.git',
    remote: 'git@github.com:moby/buildkit.git',
    ref: 'main',
    subdir: 'sub',
  });
  expect(parseGitUrl('file:///srv/a.git')).toMatchObject({ scheme: 'file', host: '', path: '/srv/a.git' });
});

test('what could be taken for an option, or leads elsewhere, is refused', () => {
  for (const bad of [
    'ssh://-oProxyCommand=x/a.git',
    'https://host/a.git#--upload-pack=x',
    '-oProxyCommand=x@host:a',
    'https://host/a.git#main:../..',
    'https://host/a.git#ma in',
    'ext::sh -c x',
    'ext://host/x',
    'https:///a.git',
    'plain',
  ]) {
    expect(() => parseGitUrl(bad), bad).toThrow(expect.objectContaining({ code: 'invalid', hop: 'git' }));
  }
});

test('credentials are not repeated', () => {
  expect(withoutCredentials('https://u:p@host/a?b=c@d')).toBe('https://host/a?b=c@d');
  expect(() => parseGitUrl('https://u:hunter2@host/a.git#-x')).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
  );
});
