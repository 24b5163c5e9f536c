/** @file Where the page's digits come from: drawn in code, or MNIST's files from the visitor's disk. */
import { MNIST, type MnistFilePair } from 'tandem/vision'
import type { DataReport } from './protocol.ts'
import type { Digits } from './training.ts'

/** How many test digits the page shows. */
const shownCount = 48

/** Loads the digits, and says for the page what they are. */
export async function loadDigits(
  files: readonly File[],
): Promise<{ digits: Digits; report: DataReport }> {
  const load = (split: 'train' | 'test') =>
    files.length > 0
      ? MNIST.fromFiles(pickPair(split, files))
      : MNIST.load({ split, download: false })
  const train = await load('train')
  const test = await load('test')
  const first = Int32Array.from({ length: Math.min(shownCount, test.length) }, (_, i) => i)
  const [shown, labels] = test.getBatch(first)
  const isSynthetic = train.source === 'synthetic'
  const report: DataReport = {
    kind: 'data',
    isSynthetic,
    description: `${grouped(train.length)} digits to learn from and ${grouped(test.length)} others to be tested on${isSynthetic ? ', drawn in code; not MNIST.' : '.'}`,
    images: Uint8Array.from((await shown.mul(255).data()) as Float32Array, Math.round),
    labels: Uint8Array.from((await labels.data()) as Int32Array),
  }
  return { digits: { train, test, shown }, report }
}

/** Finds the two files of a part by their names. */
function pickPair(split: 'train' | 'test', files: readonly File[]): MnistFilePair {
  const part = split === 'train' ? 'train' : 't10k'
  const find = (what: 'images' | 'labels') => {
    const found = files.find(({ name }) => name.includes(part) && name.includes(what))
    if (found !== undefined) return found
    const given = files.map(({ name }) => name).join(', ')
    throw new Error(
      `no ${part}-${what} file among ${given}. Expected MNIST's four files together, gzipped or not: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte`,
    )
  }
  return { split, images: find('images'), labels: find('labels') }
}

function grouped(count: number): string {
  return count.toLocaleString('en')
}
