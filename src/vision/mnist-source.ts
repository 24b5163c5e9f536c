/** @file Finding MNIST: a folder, the cache, a download, or else the digits drawn in code. */
import { FormatError, UnsupportedError, ValueError, checkOptions } from '../util/errors.ts'
import { maybeGunzip, parseIdx } from './idx.ts'
import {
  DownloadError,
  type DownloadOptions,
  type MnistFile,
  downloadMnistFile,
  mnistFiles,
  officialName,
} from './mnist-download.ts'
import type * as nodeFileSystem from './mnist-files.node.ts'
import { drawDigits } from './synthetic-digits.ts'

type NodeFiles = typeof nodeFileSystem

export interface MnistSourceOptions extends DownloadOptions {
  /** The 60,000 images to learn from, or the 10,000 to be judged by. */
  readonly split: 'train' | 'test'
  /** Has the original idx files, gzipped or not; then nothing else is tried. Not in browsers. */
  readonly folder?: string
  /** Whether to fetch from the official mirrors what the cache lacks. Default false. */
  readonly download?: boolean
  /** Folder of downloaded files. Default: `mnist` in `$TANDEM_CACHE`, or in `~/.cache/tandem`; none with `TANDEM_CACHE=0`. */
  readonly cache?: string
  /** Chooses the drawn digits. Default 0. */
  readonly seed?: number
  /** How many digits to draw. Default 12,000 for 'train' and 2,000 for 'test'. */
  readonly syntheticCount?: number
}

/** What {@link loadMnistArrays} gives. */
export interface MnistArrays {
  /** Grey values 0..255, 0 is paper, [count, rows, columns]. */
  readonly images: Uint8Array
  /** Digits 0..9, [count]. */
  readonly labels: Uint8Array
  readonly count: number
  readonly rows: number
  readonly columns: number
  readonly source: 'folder' | 'files' | 'cache' | 'download' | 'synthetic'
  /** A sentence for people: what this is and where it comes from. */
  readonly description: string
}

/**
 * Loads a part of MNIST from the first place that has it: the folder given, else the cache, else
 * (with `download: true`) the official mirrors. Where none has it, or the network fails, digits are
 * drawn in code instead, and `source` and `description` say so.
 *
 * @throws ValueError when the folder given lacks a file, or an option makes no sense; FormatError
 *   when a file is damaged or images and labels do not belong together; UnsupportedError for a
 *   folder in a browser. A failed download is no error.
 * @example
 * const { images, count, rows, columns } = await loadMnistArrays({ split: 'test' })
 * images.length === count * rows * columns // -> true
 */
export async function loadMnistArrays(options: MnistSourceOptions): Promise<MnistArrays> {
  checkOptions('MNIST', options, knownOptions)
  const { split, folder, download = false, seed = 0, timeoutMs = 1 } = options
  if (split !== 'train' && split !== 'test')
    throw new ValueError(
      `MNIST: unknown split ${JSON.stringify(split)}. Expected 'train' or 'test'`,
    )
  if (!Number.isSafeInteger(2 * seed) || !Number.isInteger(seed))
    throw new ValueError(`MNIST: seed is ${seed}. Expected a whole number`)
  if (!(timeoutMs > 0 && timeoutMs < 2 ** 31))
    throw new ValueError(`MNIST: timeoutMs is ${timeoutMs}. Expected milliseconds above 0`)
  const files = await nodeFiles()
  if (folder !== undefined) return fromFolder(folder, split, files)
  const cache = options.cache ?? files?.defaultCacheFolder()
  if (files !== undefined && cache !== undefined) {
    const cached = await fromCache(cache, split, files, download)
    if (cached !== undefined) return cached
  }
  if (!download)
    return synthetic(options, 'Pass { download: true } or { folder } for MNIST itself.')
  try {
    return await fromMirrors(options, cache, files)
  } catch (error) {
    if (!(error instanceof DownloadError)) throw error
    return synthetic(options, `MNIST was not available: ${error.message}.`)
  }
}

/** A part of MNIST as its two idx files, gzipped or not; a `File` of a browser is a Blob with a name. */
export interface MnistFilePair {
  readonly split: 'train' | 'test'
  readonly images: Blob
  readonly labels: Blob
}

/**
 * Reads a part of MNIST from its two files: for pages, where there are no folders.
 *
 * @throws FormatError when a file is damaged or images and labels do not belong together.
 * @example
 * const images = new Blob([Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 7, 8)])
 * const labels = new Blob([Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 1, 5)])
 * const { images: pixels, count } = await readMnistFiles({ split: 'test', images, labels })
 * pixels // -> Uint8Array [7, 8]
 * count // -> 1
 */
export async function readMnistFiles(files: MnistFilePair): Promise<MnistArrays> {
  const read = async (blob: Blob, { stem }: MnistFile) => ({
    bytes: new Uint8Array(await blob.arrayBuffer()),
    name: 'name' in blob ? String(blob.name) : stem,
  })
  const { images, labels } = mnistFiles[files.split]
  return assemble(
    await read(files.images, images),
    await read(files.labels, labels),
    files.split,
    'files',
    'from files',
  )
}

const knownOptions = [
  'split',
  'folder',
  'download',
  'cache',
  'seed',
  'syntheticCount',
  'fetch',
  'onProgress',
  'timeoutMs',
] as const satisfies readonly (keyof MnistSourceOptions)[]

/** A literal import that runs outside browsers only: bundlers for these may leave `*.node` modules out. */
async function nodeFiles(): Promise<NodeFiles | undefined> {
  const { process } = globalThis as { process?: { versions?: { node?: string } } }
  return process?.versions?.node === undefined ? undefined : import('./mnist-files.node.ts')
}

async function fromFolder(
  folder: string,
  split: MnistSourceOptions['split'],
  files: NodeFiles | undefined,
): Promise<MnistArrays> {
  if (files === undefined)
    throw new UnsupportedError(
      `MNIST: a browser cannot read the folder ${folder}. Fetch the files and use MNIST.fromFiles, or pass { download: true }`,
    )
  const read = async (file: MnistFile) => {
    const names = acceptedNames(file)
    const found = await files.readFirst(folder, names)
    if (found !== undefined) return { bytes: found.bytes, name: found.path }
    throw new ValueError(
      `MNIST: the folder ${folder} has no ${file.stem} file. Expected one of ${names.join(', ')}; leave out the folder to use the cache or drawn digits`,
    )
  }
  const { images, labels } = mnistFiles[split]
  return assemble(await read(images), await read(labels), split, 'folder', `from ${folder}`)
}

async function fromCache(
  cache: string,
  split: MnistSourceOptions['split'],
  files: NodeFiles,
  download: boolean,
): Promise<MnistArrays | undefined> {
  const images = await files.readFirst(cache, acceptedNames(mnistFiles[split].images))
  const labels = await files.readFirst(cache, acceptedNames(mnistFiles[split].labels))
  if (images === undefined || labels === undefined) return undefined
  try {
    return await assemble(
      { bytes: images.bytes, name: images.path },
      { bytes: labels.bytes, name: labels.path },
      split,
      'cache',
      `from the cache ${cache}`,
    )
  } catch (error) {
    if (download) return undefined
    throw new FormatError(
      `${(error as Error).message} (a cached file: delete it, or pass { download: true } to fetch it again)`,
      { cause: error },
    )
  }
}

async function fromMirrors(
  options: MnistSourceOptions,
  cache: string | undefined,
  files: NodeFiles | undefined,
): Promise<MnistArrays> {
  const { images, labels } = mnistFiles[options.split]
  // The small file first: without a network that is found out soon.
  const labelFile = await downloadMnistFile(labels, options)
  const imageFile = await downloadMnistFile(images, options)
  let where = 'just downloaded'
  if (files !== undefined && cache !== undefined) {
    try {
      await files.writeAtomically(
        `${cache}/${cachedName(labels, labelFile.received)}`,
        labelFile.received,
      )
      await files.writeAtomically(
        `${cache}/${cachedName(images, imageFile.received)}`,
        imageFile.received,
      )
    } catch (error) {
      where += `, not cached (${(error as Error).message})`
    }
  }
  return assemble(
    { bytes: imageFile.content, name: officialName(images) },
    { bytes: labelFile.content, name: officialName(labels) },
    options.split,
    'download',
    where,
  )
}

function synthetic(options: MnistSourceOptions, remark: string): MnistArrays {
  const { split, seed = 0, syntheticCount: count = split === 'train' ? 12_000 : 2_000 } = options
  // The two parts never share an image, whatever their seeds.
  const { images, labels } = drawDigits({
    count,
    seed: split === 'train' ? 2 * seed : 2 * seed + 1,
  })
  const description = `Synthetic digits drawn in code, not MNIST: ${grouped(count)} ${split} images of 28 x 28, seed ${seed}. ${remark}`
  return { images, labels, count, rows: 28, columns: 28, source: 'synthetic', description }
}

async function assemble(
  imageFile: { bytes: Uint8Array; name: string },
  labelFile: { bytes: Uint8Array; name: string },
  split: MnistSourceOptions['split'],
  source: MnistArrays['source'],
  where: string,
): Promise<MnistArrays> {
  const images = await readBytes(imageFile, 3)
  const labels = await readBytes(labelFile, 1)
  const [count, rows, columns] = images.shape as [number, number, number]
  if (labels.data.length !== count)
    throw new FormatError(
      `MNIST: ${imageFile.name} has ${count} images, ${labelFile.name} ${labels.data.length} labels. Expected as many; are both of the same set?`,
    )
  const bad = labels.data.findIndex((label) => label > 9)
  if (bad >= 0)
    throw new FormatError(
      `MNIST: ${labelFile.name}: label ${bad} is ${labels.data[bad]}. Expected digits 0 to 9; is this the right file?`,
    )
  const description = `MNIST ${split}: ${grouped(count)} images of ${rows} x ${columns}, ${where}`
  return { images: images.data, labels: labels.data, count, rows, columns, source, description }
}

async function readBytes(
  { bytes, name }: { bytes: Uint8Array; name: string },
  ndim: number,
): Promise<{ shape: number[]; data: Uint8Array }> {
  const { dtype, shape, data } = parseIdx(await maybeGunzip(bytes, { source: name }), name)
  if (dtype === 'uint8' && shape.length === ndim) return { shape, data: data as Uint8Array }
  throw new FormatError(
    `MNIST: ${name} holds ${dtype} with ${shape.length} axes. Expected uint8 with ${ndim}; is this the right file?`,
  )
}

/** The file's usual names: with '-' or '.' before idx, gzipped or not. */
function acceptedNames({ stem, ndim }: MnistFile): string[] {
  const plain = [`${stem}-idx${ndim}-ubyte`, `${stem}.idx${ndim}-ubyte`]
  return plain.flatMap((name) => [`${name}.gz`, name])
}

/** Servers may have decompressed the file on the way; it keeps the name that tells. */
function cachedName(file: MnistFile, received: Uint8Array): string {
  const name = officialName(file)
  return received[0] === 0x1f ? name : name.replace(/\.gz$/, '')
}

function grouped(count: number): string {
  return count.toLocaleString('en-US')
}
