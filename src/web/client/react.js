// React bindings, on top of React and TanStack Query.

export { ConnectionStatusBadge, LiveUpdatesPausedBanner } from './react-connection.js';
export { useCollection, useConflicts, useDocument, useNotifications } from './react-documents.js';
export { ErrorBoundary, RootErrorBoundary, useErrorHandler, withErrorBoundary } from './react-errors.js';
export {
  LiveInteractionProvider, useLiveInteraction, useLiveInteractionNotifications,
} from './react-interactions.js';
export { RejoinContext, RejoinProvider, STATUS_KEY, useConnectionStatus, useRejoin } from './react-provider.js';
export { useReconciliationStream, useReliableQuery, VERDICTS_KEY } from './react-queries.js';
