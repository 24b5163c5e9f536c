/** @file What the page and its worker say to each other. */

export type NetworkName = 'mlp' | 'cnn'

/** What the page asks for. */
export type Request =
  /** Get the digits: MNIST's four files, or without any the ones drawn in code. */
  | { readonly kind: 'load'; readonly files: readonly File[] }
  /** Make a new network and train it. */
  | { readonly kind: 'train'; readonly network: NetworkName; readonly epochs: number }
  | { readonly kind: 'stop' }
  /** Read a digit drawn by hand: 28 x 28 grey values, 0 is paper. */
  | { readonly kind: 'read'; readonly image: Uint8Array }

/** What the network takes a digit for, and how sure it is (0 to 1). */
export interface Guess {
  readonly digit: number
  readonly confidence: number
}

/** What the worker tells. */
export type Report =
  | DataReport
  | { readonly kind: 'started'; readonly stepsPerEpoch: number; readonly parameters: number }
  | ProgressReport
  /** One per digit shown. */
  | { readonly kind: 'guesses'; readonly guesses: readonly Guess[] }
  | EpochReport
  | { readonly kind: 'finished'; readonly isStopped: boolean }
  /** The drawn digit: a probability for each of 0 to 9. */
  | { readonly kind: 'read'; readonly probabilities: readonly number[] }
  | FailureReport

export interface DataReport {
  readonly kind: 'data'
  readonly isSynthetic: boolean
  readonly description: string
  /** The test digits to show: [count, 28, 28] grey values, and what each really is. */
  readonly images: Uint8Array
  readonly labels: Uint8Array
}

export interface ProgressReport {
  readonly kind: 'progress'
  /** Losses of the steps since the last report. */
  readonly losses: readonly number[]
  readonly imagesPerSecond: number
  /** Bytes of memory taken for tensors. */
  readonly memory: number
}

/** How an epoch ended. */
export interface EpochReport {
  readonly kind: 'epoch'
  readonly epoch: number
  readonly trainLoss: number
  readonly testLoss: number
  /** Part of the test digits that was read right, 0 to 1. */
  readonly testAccuracy: number
  readonly seconds: number
}

export interface FailureReport {
  readonly kind: 'failed'
  /** What was asked for. */
  readonly during: Request['kind']
  readonly name: string
  readonly message: string
}

/** Height and width of a digit. */
export const SIDE = 28
