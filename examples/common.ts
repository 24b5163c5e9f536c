/** @file What the examples share: finding the digits. */
import { MNIST } from 'tandem/vision'

/** Both parts of MNIST, and where they come from: the folder given, else the cache, the network, or digits drawn in code. */
export async function mnist(
  folder?: string,
  { download = true } = {},
): Promise<{ train: MNIST; test: MNIST }> {
  const options = { download, onMessage: console.log, ...(folder !== undefined && { folder }) }
  const train = await MNIST.load({ split: 'train', ...options })
  // Where the one part was not to be had, nobody waits for the other.
  options.download &&= train.source !== 'synthetic'
  const test = await MNIST.load({ split: 'test', ...options })
  if ((train.source === 'synthetic') !== (test.source === 'synthetic'))
    throw new Error('Only one part of MNIST was found. Pass the folder that has both')
  return { train, test }
}
