/** How a server is reached. `closed`: not followed any more, or the caller may not. */
export type ConnectionStatus = 'connected' | 'reconnecting' | 'polling-fallback' | 'offline' | 'closed';

/** `network`: no answer; `rejection`: any other refusal. */
export type FailureKind = 'network' | 'timeout' | 'rate-limit' | 'conflict' | 'rejection' | 'server';

export interface RejoinOptions {
  /** The server's address; left out: where the page comes from. */
  url?: string;
  /** Of a session or a service; left out: the browser's cookie. */
  token?: string | null;
  /** Recompute the hash of every change, where `crypto.subtle` exists and the caller sees everything. */
  verifyChain?: boolean;
  /** What the page was built with: `import.meta.env`. Its `VITE_FF_*` override the server's flags. */
  environment?: Record<string, any>;
}

/** An event of a stream. */
export interface StreamEvent {
  /** Its name: `snapshot`, `resumed`, `change`, … */
  event: string;
  data: any;
  /** The position in the log, or what the connection said last. */
  id: string;
  /** The data as they came; empty when they did not come by a stream. */
  text: string;
}

/** What somebody who follows a document says: stored nowhere. */
export interface TransientMessage {
  collection: string;
  id: string;
  /** The sender; the owner of the server is `owner`. */
  from: string;
  type: string;
  at: string;
  /** As far as the caller may see it. */
  payload: unknown;
}

export interface StreamOptions {
  /** Of a session or a service; left out: the browser's cookie. */
  token?: string | null;
  onEvent?: (event: StreamEvent) => void;
  onStatus?: (status: ConnectionStatus) => void;
}

/** A stream that is followed. */
export interface StreamHandle {
  readonly status: ConnectionStatus;
  /** Tries at once. */
  reconnect(): void;
  close(): void;
}

/** An operation of a JSON Patch (RFC 6902). */
export interface Operation {
  op: string;
  path: string;
  value?: any;
  from?: string;
}

/** A document as the server answers with it. */
export interface DocumentBody {
  collection: string;
  id: string;
  version: number;
  hash: string;
  state: any;
  createdAt?: string;
  updatedAt?: string;
  durable?: boolean;
}

/** A change as the server tells it. */
export interface ChangeEvent {
  seq: number;
  collection: string;
  id: string;
  version: number;
  type: string;
  actor: string;
  at: string;
  payload: any;
  patch: Operation[];
  hash: string;
}

export interface ActionBody {
  type: string;
  payload?: any;
  /** What it changes, where the collection has no rules: a merge patch or a JSON Patch. */
  patch?: any;
  expectedVersion?: number;
}

/** A write that the server has not confirmed. */
export interface Write {
  /** Sorts by when it was made. */
  id: string;
  /** Its `Idempotency-Key`. */
  key: string;
  /** `collection/id` */
  document: string;
  kind: 'act' | 'patch' | 'put';
  body: any;
  /** A merge patch: what it is expected to change. */
  optimistic?: any;
  /** When it was made. */
  at: string;
  /** The version that it was made on. */
  base: number;
  baseHash: string;
  /** Who made it, where that is known. */
  user?: string | null;
  tab?: string;
  /** It waits in the browser's store. */
  queued?: boolean;
  sent?: boolean;
  /** Its event has come, its answer has not. */
  seen?: boolean;
  /** The version that it became. */
  confirmed?: number;
}

/** A write that could not be brought to the server as it was meant. */
export interface Conflict {
  id: string;
  document: string;
  at: string;
  kind: FailureKind;
  status: number;
  /** What the server said. */
  problem: any;
  write: Write;
  /** Of a merge: where, and the values. */
  path?: string;
  base?: any;
  local?: any;
  server?: any;
}

export interface RetryOptions {
  /** Attempts after the first one. Default 3. */
  maxRetries?: number;
  /** Before the first of them, in milliseconds. Default 1000. */
  retryDelay?: number;
  /** By how much each delay is longer than the one before. Default 2. */
  backoffMultiplier?: number;
  /** How long an attempt may take, in milliseconds. Default 10000. */
  timeout?: number;
}

/** Retries with a memory. */
export interface ErrorRecovery {
  /** What kind of failure an error is, by its `status`, or that of its `response`. */
  classify(error: any): FailureKind;
  /** Runs it, and again where that can help; what fails for good is kept. */
  executeWithRetry<T>(operation: (signal: AbortSignal) => Promise<T> | T, options?: RetryOptions): Promise<T>;
  /** Runs again what was kept, in order, and sends the queue of writes. */
  retryPendingOperations(): Promise<{ succeeded: number; failed: number }>;
  /** How many wait: operations that failed, and writes in the queue. */
  getPendingOperationsCount(): number;
  /** Forgets them: unsent writes are given up. */
  clearPendingOperations(): Promise<void>;
}

export type NotificationType = 'turn' | 'action' | 'status';

export interface NotificationBody {
  id?: string;
  type: NotificationType;
  title: string;
  body?: string;
  /** The part of the page that it is about; each can be turned off. */
  component?: string;
}

export interface RejoinNotification extends NotificationBody {
  id: string;
  at: string;
  read: boolean;
  /** Of one that the server sent: what it is about, `collection/id`, and the version after the change. */
  document?: string;
  version?: number;
}

export interface NotificationSettings {
  turn: { enabled: boolean; sound: boolean; closeAfterSeconds: number };
  action: { enabled: boolean; sound: boolean; closeAfterSeconds: number };
  status: { enabled: boolean; sound: boolean; closeAfterSeconds: number };
  /** Also as notifications of the system, where the browser and the person allow it. */
  system: boolean;
  /** Parts of the page that are turned off: `false`. */
  components: Record<string, boolean>;
}
