/** The host that stands for the client in the URL of an upload, `http://buildkit-session/ID`. */
export const uploadHost = 'buildkit-session';
