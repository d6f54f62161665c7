/** Which of the engine's images are shown beside ours. */
import { expect, test } from 'vitest';
import { onlyThere } from '../../../src/api/docker/behind/images-there.ts';
import type { ListedImage } from '../../../src/images/listed.ts';
import type { Digest } from '../../../src/oci/types.ts';

const digest = (letter: string) => `sha256:${letter.repeat(64)}` as Digest;
const descriptor = (letter: string) => ({ mediaType: 'm', digest: digest(letter), size: 1 });
/** An image that is here: its ID `a`, its manifest `b`, the index that its name points to `c`. */
const ours = {
  id: digest('a'),
  images: [{ id: digest('a'), manifest: descriptor('b') }],
  records: [{ name: 'docker.io/library/app:1', target: descriptor('c') }],
  tags: ['app:1'],
  digests: [`app@${digest('c')}`],
} as unknown as ListedImage;
const shown = (image: { Id: string; RepoTags?: string[] | null; RepoDigests?: string[] | null }) =>
  onlyThere([image], [ours]).map(({ RepoTags }) => RepoTags);

test('an image of its own is shown with its names, or as one without', () => {
  expect(shown({ Id: digest('e'), RepoTags: ['other:1', 'other:2'] })).toEqual([['other:1', 'other:2']]);
  expect(shown({ Id: digest('e'), RepoTags: null })).toEqual([[]]);
  expect(shown({ Id: digest('e'), RepoTags: ['<none>:<none>'], RepoDigests: ['<none>@<none>'] })).toEqual([
    [],
  ]);
});

test.each(['a', 'b', 'c'])(
  'a copy of ours is not shown, by whichever digest it goes there (%s)',
  (letter) => {
    expect(shown({ Id: digest(letter), RepoTags: ['app:1'] })).toEqual([]);
    expect(shown({ Id: digest(letter), RepoTags: [] })).toEqual([]);
    expect(shown({ Id: digest(letter), RepoTags: ['app:1', 'alias:1'] })).toEqual([['alias:1']]);
  },
);

test('where both have a name, ours counts: an older copy is not shown by it', () => {
  expect(shown({ Id: digest('e'), RepoTags: ['app:1'] })).toEqual([]);
  expect(shown({ Id: digest('e'), RepoTags: ['app:1', 'app:0'] })).toEqual([['app:0']]);
});
