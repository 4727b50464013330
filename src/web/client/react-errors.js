// Errors of components: told to the server, and shown with a way out.

import { Component, createElement, useCallback, useState } from 'react';

import { RejoinContext } from './react-provider.js';
import { defaultRejoin } from './rejoin.js';

/** @typedef {import('./client.js').Rejoin} Rejoin */
/** @typedef {import('react').ReactNode} ReactNode */
/** @typedef {{error: Error, retry: () => void, reload: () => void, report: () => Promise<void>}} Failure */
/** @typedef {{children?: ReactNode, rejoin?: Rejoin, appVersion?: string, development?: boolean,
 *   fallback?: (failure: Failure) => ReactNode, onError?: (error: Error, stack: string) => void}} BoundaryProperties */

/** Whether the page was built for development. @returns {boolean} */
// @ts-ignore: defined by Vite
const isDevelopment = () => Boolean(import.meta.env?.DEV);

/** @param {unknown} thrown */
const asError = (thrown) => (thrown instanceof Error ? thrown : new Error(String(thrown)));

/** @param {string} label @param {() => void} onClick */
const button = (label, onClick) => createElement('button', { type: 'button', onClick, key: label }, label);

/** @param {Error} error @param {string} stack */
const details = (error, stack) => createElement(
  'details', null, createElement('summary', null, error.message), createElement('pre', null, `${error.stack}${stack}`),
);

/**
 * What both boundaries have in common.
 * @extends {Component<BoundaryProperties, {error: Error | null, stack: string, reported: boolean}>}
 */
class Boundary extends Component {
  static contextType = RejoinContext;
  /** Whose server is told: known when the error is caught, since the provider's client may end with it.
   * @type {Rejoin | null} */
  #reporter = null;
  /** @type {{error: Error | null, stack: string, reported: boolean}} */
  state = { error: null, stack: '', reported: false };

  /** @param {unknown} thrown */
  static getDerivedStateFromError(thrown) {
    return { error: asError(thrown) };
  }

  /** @param {unknown} thrown @param {import('react').ErrorInfo} info */
  componentDidCatch(thrown, { componentStack }) {
    const stack = componentStack ?? '';
    this.#reporter = this.props.rejoin ?? /** @type {Rejoin | null} */ (this.context) ?? defaultRejoin();
    this.setState({ stack });
    this.props.onError?.(asError(thrown), stack);
  }

  /** @param {Error} error @param {string} componentStack */
  async tellServer(error, componentStack) {
    const { message, name, stack = '' } = error;
    const { appVersion } = this.props;
    await this.#reporter?.reportError({ message: message || name, stack: stack + componentStack, appVersion });
  }

  /** @type {Failure['retry']} */
  retry = () => this.setState({ error: null, stack: '', reported: false });
  /** @type {Failure['reload']} */
  reload = () => globalThis.location.reload();
  /** @type {Failure['report']} */
  report = async () => {
    const { error, stack } = this.state;
    if (!error) return;
    await this.tellServer(error, stack);
    this.setState({ reported: true });
  };

  /** @param {Error} error @returns {ReactNode} */
  renderError(error) {
    return error.message;
  }

  render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    const { retry, reload } = this;
    return this.props.fallback?.({ error, retry, reload, report: this.report }) ?? this.renderError(error);
  }
}

/** Around a whole page: what fails is told to the server at once, and the page can be loaded anew. */
export class RootErrorBoundary extends Boundary {
  /** @override @param {unknown} thrown @param {import('react').ErrorInfo} info */
  componentDidCatch(thrown, info) {
    super.componentDidCatch(thrown, info);
    void this.tellServer(asError(thrown), info.componentStack ?? '');
  }

  /** @override @param {Error} error */
  renderError(error) {
    const { stack } = this.state;
    return createElement(
      'div', { role: 'alert' },
      createElement('h1', null, 'This page has failed'),
      createElement('p', null, 'Nothing is lost: what was confirmed is stored by the server. The error was reported.'),
      button('Reload Dashboard', this.reload),
      (this.props.development ?? isDevelopment()) && details(error, stack),
    );
  }
}

/** Around a part of a page: the rest goes on, and the part can be tried again. */
export class ErrorBoundary extends Boundary {
  /** @override @param {Error} error */
  renderError(error) {
    const { stack, reported } = this.state;
    return createElement(
      'div', { role: 'alert' },
      createElement('p', null, 'This part of the page has failed.'),
      button('Try again', this.retry),
      button('Reload', this.reload),
      reported ? createElement('span', null, 'Reported') : button('Report', () => void this.report()),
      (this.props.development ?? isDevelopment()) && details(error, stack),
    );
  }
}

/**
 * A function that hands an error of an event handler or of a promise to the nearest boundary.
 * @returns {(thrown: unknown) => void}
 */
export function useErrorHandler() {
  const [, set] = useState(null);
  return useCallback((thrown) => set(() => {
    throw asError(thrown);
  }), []);
}

/**
 * The component within an `ErrorBoundary`.
 * @template {object} Properties
 * @param {import('react').ComponentType<Properties>} component
 * @param {BoundaryProperties} [boundary]
 * @returns {import('react').FunctionComponent<Properties>}
 */
export function withErrorBoundary(component, boundary = {}) {
  /** @param {Properties} properties */
  const Guarded = (properties) => createElement(ErrorBoundary, boundary, createElement(component, properties));
  Guarded.displayName = `withErrorBoundary(${component.displayName ?? component.name})`;
  return Guarded;
}
