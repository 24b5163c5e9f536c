/** @file Trains ten epochs of 60,000 digits by hand, frees nothing, and prints the resident bytes after each as JSON. */
import { manualSeed } from 'tandem'
import { DataLoader } from 'tandem/data'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { MNIST } from 'tandem/vision'

manualSeed(0)
const [, , folder] = process.argv
const place = folder === undefined ? {} : { folder }
const digits = await MNIST.load({ split: 'train', download: false, ...place })
const model = new nn.Sequential(
  new nn.Flatten(),
  new nn.Linear(784, 128),
  new nn.ReLU(),
  new nn.Linear(128, 10),
)
const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 })
const loader = new DataLoader(digits, { batchSize: 64, shuffle: true })
// The drawn digits are fewer than MNIST's: several passes make an epoch of the same length.
const passes = Math.round(60_000 / digits.length)

const resident: number[] = []
for (let epoch = 0; epoch < 10; epoch++) {
  for (let pass = 0; pass < passes; pass++)
    for await (const [x, y] of loader) {
      optimizer.zeroGrad()
      model.forward(x).crossEntropy(y).backward()
      optimizer.step()
    }
  resident.push(process.memoryUsage().rss)
}
console.log(JSON.stringify(resident))
