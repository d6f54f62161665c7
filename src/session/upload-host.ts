/** The host that stands for the client in an upload's URL, `http://buildkit-session/ID`. */
export const uploadHost = 'buildkit-session';
