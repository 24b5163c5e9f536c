/** @file tandem/vision: image datasets, and images in the terminal. */
export { MNIST, type MNISTOptions } from './mnist.ts'
export type { DownloadProgress } from './mnist-download.ts'
export { renderImages, type RenderOptions } from './terminal.ts'
