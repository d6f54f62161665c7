/** Tells URLs and addresses of servers from paths. */

/** Whether a text is a URL of a web server. */
export function isHttpUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}

/**
 * Whether a text names a web server's file or a git repository, by the rules with which BuildKit and its clients tell
 * them from folders: an http, https, git or ssh URL, `user@host:path`, or `github.com/…`. The last two could also be
 * folders, and clients look for those first.
 */
export function isRemoteUrl(text: string): boolean {
  return (
    /^(?:https?|git|ssh):\/\//i.test(text) ||
    /^[\w-]+@[A-Za-z0-9.-]+:./.test(text) ||
    text.startsWith('github.com/')
  );
}

/** The host in a registry's address, `https://index.docker.io/v1/` or `host:5000/path`, as written there. */
export function hostOfAddress(address: string): string {
  return address.replace(/^https?:\/\//, '').replace(/\/.*$/s, '');
}
