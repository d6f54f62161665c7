/** The names of what the network makes on the host. */

/** All interfaces of steps begin with this, whoever made them. */
export const linkPrefix = 'dryd';
