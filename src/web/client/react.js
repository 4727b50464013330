// React bindings, on top of React and TanStack Query.

export { RejoinProvider, STATUS_KEY, useConnectionStatus, useRejoin } from './react-context.js';
export { useCollection, useConflicts, useDocument, useNotifications } from './react-documents.js';
export { ErrorBoundary, RootErrorBoundary, useErrorHandler, withErrorBoundary } from './react-errors.js';
export {
  LiveInteractionProvider, useLiveInteraction, useLiveInteractionNotifications,
} from './react-interactions.js';
export { useReconciliationStream, useReliableQuery, VERDICTS_KEY } from './react-queries.js';
export { ConnectionStatusBadge, LiveUpdatesPausedBanner } from './react-status.js';
