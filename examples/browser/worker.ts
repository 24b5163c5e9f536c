/** @file The worker: it does all the work, so that the page never waits. */
import { fromTypedArray, manualSeed } from 'tandem'
import type * as nn from 'tandem/nn'
import { loadDigits } from './digits.ts'
import { makeNetwork } from './networks.ts'
import { SIDE, type Report, type Request } from './protocol.ts'
import { probabilities, train, type Digits } from './training.ts'

let digits: Digits | undefined
let network: nn.Layer | undefined
let isStopping = false

addEventListener('message', ({ data }: MessageEvent<Request>) => {
  answer(data).catch((error: unknown) => {
    const { name, message } = error instanceof Error ? error : new Error(String(error))
    tell({ kind: 'failed', during: data.kind, name, message })
  })
})

async function answer(request: Request): Promise<void> {
  switch (request.kind) {
    case 'load': {
      const loaded = await loadDigits(request.files)
      digits = loaded.digits
      return tell(loaded.report)
    }
    case 'train':
      return trainAndTell(request)
    case 'stop':
      isStopping = true
      return
    case 'read': {
      if (network === undefined) return
      const image = fromTypedArray(Float32Array.from(request.image), [1, 1, SIDE, SIDE]).div(255)
      const [row] = await probabilities(network, image)
      return tell({ kind: 'read', probabilities: row! })
    }
  }
}

async function trainAndTell({
  network: name,
  epochs,
}: Extract<Request, { kind: 'train' }>): Promise<void> {
  if (digits === undefined) throw new Error('There are no digits to learn from yet.')
  isStopping = false
  // The same digits and the same beginning give the same curve.
  manualSeed(0)
  network = makeNetwork[name]()
  for await (const report of train(network, digits, epochs)) {
    tell(report)
    if (isStopping) break
  }
  tell({ kind: 'finished', isStopped: isStopping })
}

function tell(report: Report): void {
  postMessage(report)
}
