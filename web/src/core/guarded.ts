/** Runs application code so that its mistakes stay its own. */

/** Run it; what it throws is reported as uncaught, as a browser does for event listeners. */
export function guarded(run: () => void): void {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
