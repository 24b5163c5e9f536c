/** @file MNIST as a dataset: 28 x 28 grey images of handwritten digits, as tensors. */
import type { Dataset } from '../data/dataset.ts'
import { fromTypedArray } from '../ops/create.ts'
import { tidy } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError } from '../util/errors.ts'
import {
  loadMnistArrays,
  readMnistFiles,
  type MnistArrays,
  type MnistFilePair,
  type MnistSourceOptions,
} from './mnist-source.ts'

export interface MNISTOptions extends MnistSourceOptions {
  /** Shift and scale the pixels to mean 0 and standard deviation 1 over the training images. Default false: 0 to 1. */
  readonly normalize?: boolean
  /** Gets a line of text when a download begins, and one that says what was loaded from where. */
  readonly onMessage?: (line: string) => void
}

/** Mean and standard deviation of MNIST's training pixels in 0..1, as everybody rounds them. */
const pixelMean = 0.1307
const pixelDeviation = 0.3081

/** How long a mirror may take to begin its answer, in milliseconds: without a network, one waits for all of them. */
const patience = 1500

/**
 * A part of MNIST (LeCun, Cortes and Burges). Item i is `[image, label]`: float32 [1, 28, 28] and a
 * 0-d int32 tensor. The pixels stay bytes in memory; a batch is converted when it is made.
 *
 * @example
 * import { DataLoader } from 'tandem/data'
 * const digits = await MNIST.load({ split: 'test', download: false, syntheticCount: 100 })
 * digits.length // -> 100
 * digits.get(0)[0].shape // -> [1, 28, 28]
 * const loader = new DataLoader(digits, { batchSize: 64, shuffle: true })
 * for await (const [x, y] of loader) console.log(x.shape, y.shape) // [64, 1, 28, 28] [64]
 */
export class MNIST implements Dataset<[image: Tensor, label: Tensor]> {
  /** What label i stands for. */
  readonly classes: readonly string[] = Array.from('0123456789')
  /** Where the digits come from; 'synthetic' ones were drawn in code and are not MNIST. */
  readonly source: MnistArrays['source']
  /** A sentence for people: what this is and where it comes from. */
  readonly description: string
  readonly length: number
  readonly #arrays: MnistArrays
  readonly #normalize: boolean
  #images: Tensor | undefined
  /** The pixels of a batch on their way to the device, which copies them. */
  #staging = new Uint8Array(0)

  /** Not for users: see `MNIST.load`. */
  constructor(arrays: MnistArrays, normalize: boolean) {
    this.source = arrays.source
    this.description = arrays.description
    this.length = arrays.count
    this.#arrays = arrays
    this.#normalize = normalize
  }

  /**
   * Loads a part from the first place that has it: `folder` if given, else the cache, else (unless
   * `download` is false) the official mirrors, checked by checksum. Where there is no network, digits
   * are drawn in code instead, which `source` and `description` say.
   *
   * Throws a ValueError when the folder lacks a file, a FormatError when a file is damaged.
   *
   * @example no-run
   * const train = await MNIST.load({ split: 'train', onMessage: console.log })
   */
  static async load(options: MNISTOptions): Promise<MNIST> {
    const { normalize = false, onMessage, ...rest } = options
    const arrays = await loadMnistArrays({
      download: true,
      ...rest,
      fetch: impatient(rest.fetch ?? globalThis.fetch, () =>
        onMessage?.(`Downloading MNIST (${options.split}) ...`),
      ),
    })
    onMessage?.(arrays.description)
    return new MNIST(arrays, normalize)
  }

  /**
   * A part of MNIST from its two idx files, gzipped or not: for pages, whose visitors pick them. Throws
   * a FormatError when a file is damaged or the two do not belong together.
   *
   * @example no-run
   * const [images, labels] = input.files
   * const test = await MNIST.fromFiles({ split: 'test', images, labels })
   */
  static async fromFiles(
    files: MnistFilePair,
    options: Pick<MNISTOptions, 'normalize'> = {},
  ): Promise<MNIST> {
    checkOptions('MNIST.fromFiles', options, ['normalize'])
    return new MNIST(await readMnistFiles(files), options.normalize ?? false)
  }

  /** All images, float32 [length, 1, 28, 28]; made when first asked for. */
  get images(): Tensor {
    this.#images ??= this.#toImages(this.#arrays.images, this.length)
    return this.#images
  }

  /** All labels, int32 [length]. */
  get labels(): Tensor {
    return fromTypedArray(Int32Array.from(this.#arrays.labels), [this.length])
  }

  /** One image with its label. Throws a ShapeError when there is no such item. */
  get(index: number): [image: Tensor, label: Tensor] {
    const [images, labels] = this.getBatch(Int32Array.of(index))
    return [images.squeeze({ axis: 0 }), labels.squeeze({ axis: 0 })]
  }

  /** Images float32 [count, 1, 28, 28] and labels int32 [count]. */
  getBatch(indices: Int32Array): [images: Tensor, labels: Tensor] {
    const { images, labels, rows, columns } = this.#arrays
    const pixels = rows * columns
    const count = indices.length
    if (this.#staging.length !== count * pixels) this.#staging = new Uint8Array(count * pixels)
    const chosenImages = this.#staging
    const chosenLabels = new Int32Array(count)
    for (let i = 0; i < count; i++) {
      const index = indices[i]!
      if (!(index >= 0 && index < this.length))
        throw new ShapeError(
          `MNIST: there is no item ${index}. Expected a whole number from 0 to ${this.length - 1}`,
        )
      chosenImages.set(images.subarray(index * pixels, (index + 1) * pixels), i * pixels)
      chosenLabels[i] = labels[index]!
    }
    return [this.#toImages(chosenImages, count), fromTypedArray(chosenLabels, [count])]
  }

  /** Bytes 0..255 as numbers 0..1, normalised if wanted. */
  #toImages(bytes: Uint8Array, count: number): Tensor {
    const { rows, columns } = this.#arrays
    return tidy(() => {
      const grey = fromTypedArray(bytes as Uint8Array<ArrayBuffer>, [count, 1, rows, columns])
      return this.#normalize
        ? grey.mul(1 / (255 * pixelDeviation)).add(-pixelMean / pixelDeviation)
        : grey.mul(1 / 255)
    })
  }
}

/** A fetch that gives up on a server that does not begin to answer, and says when the first one is asked. */
function impatient(
  fetch: NonNullable<MnistSourceOptions['fetch']>,
  onFirst: () => void,
): NonNullable<MnistSourceOptions['fetch']> {
  let isFirst = true
  return async (url, { signal }) => {
    if (isFirst) onFirst()
    isFirst = false
    const silence = new AbortController()
    const timer = setTimeout(
      () => silence.abort(new Error(`no answer within ${patience} ms`)),
      patience,
    )
    try {
      return await fetch(url, { signal: AbortSignal.any([signal, silence.signal]) })
    } finally {
      clearTimeout(timer)
    }
  }
}
