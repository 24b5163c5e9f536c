/** @file A convolutional network on MNIST. Run: node build/examples/mnist-cnn.js [folder of MNIST] */
import { manualSeed, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { Model } from 'tandem/train'
import { mnist } from './common.ts'

class ConvNet extends nn.Module {
  features = new nn.Sequential(
    new nn.Conv2d(1, 16, 3, { padding: 1 }), // [N, 16, 28, 28]
    new nn.ReLU(),
    new nn.MaxPool2d(2), // [N, 16, 14, 14]
    new nn.Conv2d(16, 32, 3, { padding: 1 }), // [N, 32, 14, 14]
    new nn.ReLU(),
    new nn.MaxPool2d(2), // [N, 32, 7, 7]
  )
  classifier = new nn.Linear(32 * 7 * 7, 10)

  forward(x: Tensor) {
    return this.classifier.forward(this.features.forward(x).flatten({ startAxis: 1 }))
  }
}

manualSeed(0)
const { train, test } = await mnist(process.argv[2])

// The two ways mix: a module and an optimizer made by hand, trained by fit.
const network = new ConvNet()
const model = new Model(network).compile({
  optimizer: new optim.AdamW(network.parameters(), { lr: 2e-3 }),
  loss: new nn.CrossEntropyLoss(),
  metrics: ['accuracy'],
})
console.log(model.summary([1, 1, 28, 28]))

await model.fit(train, { epochs: 3, batchSize: 64, validationData: test })
const { accuracy } = await model.evaluate(test)
console.log(`test accuracy ${accuracy?.toFixed(4)}`)
