/** What people write for a thing that a server has, told from paths. */

/** Whether a text is a URL of a web server. */
export function isHttpUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}

/**
 * Whether a text names a web server's file or a git repository, as BuildKit and its clients tell them from folders: an
 * http, https, git or ssh URL, `user@host:path`, or `github.com/…`. The last two could be folders as well: a client
 * looks for those first.
 */
export function isRemoteUrl(text: string): boolean {
  return (
    /^(?:https?|git|ssh):\/\//i.test(text) ||
    /^[\w-]+@[A-Za-z0-9.-]+:./.test(text) ||
    text.startsWith('github.com/')
  );
}

/** The host of a registry's address, `https://index.docker.io/v1/` or `host:5000/path`, as it is written there. */
export function hostOfAddress(address: string): string {
  return address.replace(/^https?:\/\//, '').replace(/\/.*$/s, '');
}
