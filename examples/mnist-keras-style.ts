/** @file MNIST with compile and fit, Keras' way. Run: node build/examples/mnist-keras-style.js [folder of MNIST] */
import { manualSeed } from 'tandem'
import * as nn from 'tandem/nn'
import { EarlyStopping, Model } from 'tandem/train'
import { mnist } from './common.ts'

manualSeed(0)
const { train, test } = await mnist(process.argv[2])

const model = new Model(
  new nn.Sequential(
    new nn.Flatten(), // [N, 784]
    new nn.Linear(784, 128),
    new nn.ReLU(),
    new nn.Linear(128, 10),
  ),
)
console.log(model.summary([1, 1, 28, 28]))

model.compile({
  optimizer: { name: 'adam', lr: 1e-3 },
  loss: 'sparseCategoricalCrossentropy',
  metrics: ['accuracy'],
})

await model.fit(train, {
  epochs: 5,
  batchSize: 64,
  validationSplit: 0.1,
  callbacks: [new EarlyStopping({ patience: 2, restoreBestWeights: true })],
})

const { loss, accuracy } = await model.evaluate(test)
console.log(`test loss ${loss.toFixed(4)}  test accuracy ${accuracy?.toFixed(4)}`)
