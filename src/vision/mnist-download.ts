/** @file Fetching one of the four MNIST files from its mirrors, checked against its known content. */
import { FormatError, TandemError } from '../util/errors.ts'
import { maybeGunzip } from './idx.ts'

/** One of the four files: how its name begins, its number of axes, and what it holds decompressed. */
export interface MnistFile {
  readonly stem: 'train-images' | 'train-labels' | 't10k-images' | 't10k-labels'
  readonly ndim: 1 | 3
  /** Length of the decompressed file. */
  readonly byteLength: number
  /** SHA-256 of the decompressed file, in hexadecimal. Of the .gz several packings are in circulation. */
  readonly sha256: string
}

/** The files of each part of MNIST. */
export const mnistFiles = {
  train: {
    images: {
      stem: 'train-images',
      ndim: 3,
      byteLength: 47_040_016,
      sha256: 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
    },
    labels: {
      stem: 'train-labels',
      ndim: 1,
      byteLength: 60_008,
      sha256: '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
    },
  },
  test: {
    images: {
      stem: 't10k-images',
      ndim: 3,
      byteLength: 7_840_016,
      sha256: '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
    },
    labels: {
      stem: 't10k-labels',
      ndim: 1,
      byteLength: 10_008,
      sha256: 'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
    },
  },
} satisfies Record<'train' | 'test', Record<'images' | 'labels', MnistFile>>

/** Where the files are published, tried in this order. */
export const mnistMirrors: readonly string[] = [
  'https://ossci-datasets.s3.amazonaws.com/mnist/',
  'https://storage.googleapis.com/cvdf-datasets/mnist/',
]

/** How far the download of one file has come, in bytes; `total` is undefined where the server does not say. */
export interface DownloadProgress {
  readonly file: string
  readonly received: number
  readonly total: number | undefined
}

export interface DownloadOptions {
  /** Stands in for the global `fetch`. */
  readonly fetch?: (url: string, init: { signal: AbortSignal }) => Promise<Response>
  readonly onProgress?: (progress: DownloadProgress) => void
  /** Longest time one request may take, in milliseconds. Default 60,000. */
  readonly timeoutMs?: number
}

/**
 * No mirror gave the file; the message has each mirror's reason.
 *
 * @example
 * const fetch = () => Promise.reject(new TypeError('no network'))
 * await downloadMnistFile(mnistFiles.test.labels, { fetch })
 * // DownloadError: t10k-labels-idx1-ubyte.gz could not be downloaded
 */
export class DownloadError extends TandemError {}

/**
 * Fetches one file, trying each mirror in turn.
 *
 * @returns `received`, the bytes as sent (usually gzip), and `content`, decompressed and verified.
 * @throws DownloadError when no mirror gives the right bytes; whatever `onProgress` throws.
 * @example no-run
 * const { content } = await downloadMnistFile(mnistFiles.test.labels)
 * parseIdx(content).shape // -> [10000]
 */
export async function downloadMnistFile(
  file: MnistFile,
  options: DownloadOptions = {},
): Promise<{ received: Uint8Array; content: Uint8Array }> {
  const reasons: string[] = []
  for (const mirror of mnistMirrors) {
    const outcome = await tryMirror(mirror, file, options)
    if (typeof outcome !== 'string') return outcome
    reasons.push(`${new URL(mirror).host}: ${outcome}`)
  }
  throw new DownloadError(`${officialName(file)} could not be downloaded (${reasons.join('; ')})`)
}

/**
 * The name under which the mirrors and most copies have a file.
 *
 * @example
 * officialName(mnistFiles.test.labels) // -> 't10k-labels-idx1-ubyte.gz'
 */
export function officialName(file: MnistFile): string {
  return `${file.stem}-idx${file.ndim}-ubyte.gz`
}

/** The file, or in words why this mirror did not give it. */
async function tryMirror(
  mirror: string,
  file: MnistFile,
  { fetch = globalThis.fetch, onProgress, timeoutMs = 60_000 }: DownloadOptions,
): Promise<{ received: Uint8Array; content: Uint8Array } | string> {
  if (typeof fetch !== 'function') return 'this runtime has no fetch'
  let response: Response
  try {
    response = await fetch(mirror + officialName(file), {
      signal: AbortSignal.timeout(Math.ceil(timeoutMs)),
    })
  } catch (error) {
    return failureText(error, timeoutMs)
  }
  if (!response.ok) {
    await response.body?.cancel().catch(() => undefined)
    return `the server answered ${response.status} ${response.statusText}`.trimEnd()
  }
  const received = await readBody(response, file, onProgress).catch((error: unknown) => {
    if (error instanceof CallbackError) throw error.cause
    return failureText(error, timeoutMs)
  })
  return typeof received === 'string' ? received : verify(received, file)
}

async function readBody(
  response: Response,
  file: MnistFile,
  onProgress: DownloadOptions['onProgress'],
): Promise<Uint8Array> {
  // A server that decompresses on the way states the length of something else.
  const isPlain = response.headers.get('content-encoding') === null
  const total = (isPlain && Number(response.headers.get('content-length'))) || undefined
  const buffer = new Uint8Array(file.byteLength)
  const reader = response.body?.getReader()
  let received = 0
  try {
    while (reader !== undefined) {
      const { done, value } = await reader.read()
      if (done) break
      if (received + value.length > buffer.length)
        throw new FormatError(`it sent more than ${buffer.length} bytes`)
      buffer.set(value, received)
      received += value.length
      report(onProgress, { file: officialName(file), received, total })
    }
  } catch (error) {
    await reader?.cancel().catch(() => undefined)
    throw error
  }
  if (total !== undefined && received < total)
    throw new FormatError(`the connection broke off after ${received} of ${total} bytes`)
  return buffer.slice(0, received)
}

async function verify(
  received: Uint8Array,
  file: MnistFile,
): Promise<{ received: Uint8Array; content: Uint8Array } | string> {
  // Browsers offer it on https and localhost only.
  const subtle = (globalThis.crypto as Crypto | undefined)?.subtle
  if (subtle === undefined) return 'its checksum cannot be computed here (no WebCrypto; use https)'
  try {
    const content = await maybeGunzip(received, { maxBytes: file.byteLength })
    const digest = new Uint8Array(
      await subtle.digest('SHA-256', content as Uint8Array<ArrayBuffer>),
    )
    const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
    if (sha256 === file.sha256) return { received, content }
    return `wrong checksum: sha256 ${sha256}, expected ${file.sha256}`
  } catch (error) {
    return (error as Error).message
  }
}

/** Carries what the caller's callback threw past the handling of network failures. */
class CallbackError extends Error {}

function report(onProgress: DownloadOptions['onProgress'], progress: DownloadProgress): void {
  try {
    onProgress?.(progress)
  } catch (error) {
    throw new CallbackError('onProgress threw', { cause: error })
  }
}

function failureText(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'TimeoutError') return `no complete answer within ${timeoutMs} ms`
  const { cause } = error
  return cause instanceof Error && cause.message !== ''
    ? `${error.message}: ${cause.message}`
    : error.message
}
