/** Drydock as a library. */
