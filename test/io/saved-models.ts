/** @file Models whose graphs the tests save. */
import { tensor, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'

/** A tensor to the bit. */
export const bits = (t: Tensor) => [t.dtype, t.shape, [...t.dataSync()].map(String)]

export class ConvNet extends nn.Module {
  features = new nn.Sequential(
    new nn.Conv2d(1, 8, 3, { padding: 1 }),
    new nn.BatchNorm2d(8),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(8, 16, 3, { padding: 1, stride: 2 }),
    new nn.ReLU(),
    new nn.Dropout(0.5),
  )
  classifier = new nn.Linear(16 * 7 * 7, 10)

  forward(x: Tensor) {
    return this.classifier.forward(this.features.forward(x).flatten({ startAxis: 1 }))
  }
}

export class Transformer extends nn.Module {
  embedding = new nn.Embedding(11, 16)
  encoder = new nn.TransformerEncoderLayer(16, 2, { dimFeedforward: 32 })
  out = new nn.Linear(16, 11)

  forward(tokens: Tensor) {
    return this.out.forward(this.encoder.forward(this.embedding.forward(tokens))).softmax()
  }
}

/** What the transformer takes. */
export const tokens = () =>
  tensor(
    [
      [1, 5, 10, 0],
      [2, 2, 7, 3],
    ],
    { dtype: 'int32' },
  )
