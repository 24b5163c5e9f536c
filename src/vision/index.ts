/** @file tandem/vision: image datasets, and images in the terminal. */
import '../backend/registry.ts'
import '../ops/methods.ts'

export { MNIST, type MNISTOptions } from './mnist.ts'
export type { DownloadProgress } from './mnist-download.ts'
export { renderImages, type RenderOptions } from './terminal.ts'
export type { MnistFilePair } from './mnist-source.ts'
