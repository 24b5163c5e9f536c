/** @file MNIST with a loop of one's own, PyTorch's way. Run: node build/examples/mnist-pytorch-style.js [folder of MNIST] */
import { manualSeed, noGrad, type Tensor } from 'tandem'
import { DataLoader } from 'tandem/data'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { mnist } from './common.ts'

class Net extends nn.Module {
  fc1 = new nn.Linear(784, 128)
  fc2 = new nn.Linear(128, 10)

  forward(x: Tensor) {
    const hidden = this.fc1.forward(x.flatten({ startAxis: 1 })).relu() // [N, 128]
    return this.fc2.forward(hidden) // [N, 10]
  }
}

manualSeed(0)
const { train, test } = await mnist(process.argv[2])
const trainLoader = new DataLoader(train, { batchSize: 64, shuffle: true })
const testLoader = new DataLoader(test, { batchSize: 500 })

const model = new Net()
const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 })

for (let epoch = 1; epoch <= 5; epoch++) {
  model.train()
  let total = 0
  for await (const [x, y] of trainLoader) {
    optimizer.zeroGrad()
    const loss = model.forward(x).crossEntropy(y)
    loss.backward() // set a breakpoint here: tensors show their values
    optimizer.step()
    total += (await loss.item()) * y.size
  }

  model.eval()
  let right = 0
  for await (const [x, y] of testLoader) {
    const guess = noGrad(() => model.forward(x)).argmax({ axis: 1 })
    right += await guess.eq(y).sum().item()
  }
  const loss = (total / train.length).toFixed(4)
  console.log(`epoch ${epoch}  loss ${loss}  test accuracy ${(right / test.length).toFixed(4)}`)
}
