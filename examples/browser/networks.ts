/** @file The networks of the page. */
import * as nn from 'tandem/nn'
import type { NetworkName } from './protocol.ts'

/** Makes a network for images [count, 1, 28, 28] that gives a logit for each of ten digits, [count, 10]. */
export const makeNetwork: Record<NetworkName, () => nn.Sequential> = {
  mlp: () =>
    new nn.Sequential(
      new nn.Flatten(), // [count, 784]
      new nn.Linear(784, 128),
      new nn.ReLU(),
      new nn.Linear(128, 10),
    ),
  cnn: () =>
    new nn.Sequential(
      new nn.Conv2d(1, 8, 3), // [count, 8, 26, 26]
      new nn.ReLU(),
      new nn.MaxPool2d(2), // [count, 8, 13, 13]
      new nn.Conv2d(8, 16, 3), // [count, 16, 11, 11]
      new nn.ReLU(),
      new nn.MaxPool2d(2), // [count, 16, 5, 5]
      new nn.Flatten(),
      new nn.Linear(16 * 5 * 5, 10),
    ),
}
