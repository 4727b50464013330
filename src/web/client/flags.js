// Feature flags: the server's, overridden by those that a page was built with.

/** `AI_DELEGATION` and `ai-delegation` as `aiDelegation`. @param {string} name */
const camelCase = (name) =>
  /[A-Z].*_|^[A-Z\d_]+$|-/.test(name)
    ? name.toLowerCase().replace(/[_-](.)/g, (_, letter) => letter.toUpperCase())
    : name;

/**
 * What the build says about a flag: `VITE_FF_<NAME>` as `true`, `1`, `on`, or anything else for off.
 * @param {Record<string, any>} environment
 * @param {string} name
 */
function built(environment, name) {
  for (const [key, value] of Object.entries(environment)) {
    if (!key.startsWith('VITE_FF_') || camelCase(key.slice('VITE_FF_'.length)) !== name) continue;
    return /^(true|1|on)$/i.test(String(value));
  }
  return undefined;
}

/** The environment that a bundler puts in. */
function buildEnvironment() {
  // @ts-ignore: defined by Vite
  return import.meta.env ?? {};
}

export class Flags {
  /** @type {Record<string, boolean>} */
  #flags = {};
  /** @type {Promise<void> | null} */
  #loading = null;
  #read;
  #environment;

  /**
   * @param {() => Promise<{flags: Record<string, boolean>}>} read
   * @param {Record<string, any>} [environment] what a page was built with
   */
  constructor(read, environment = buildEnvironment()) {
    this.#read = read;
    this.#environment = environment;
  }

  /** Fetches them, once. */
  load() {
    this.#loading ??= this.#read().then(
      ({ flags }) => void (this.#flags = flags),
      (error) => {
        this.#loading = null;
        throw error;
      },
    );
    return this.#loading;
  }

  /** Whether a flag is on; false until the flags are loaded. @param {string} name `AI_DELEGATION` or `aiDelegation` */
  isEnabled(name) {
    const key = camelCase(name);
    this.load().catch(() => {});
    return built(this.#environment, key) ?? this.#flags[key] === true;
  }
}
