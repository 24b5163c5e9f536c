/** @file A saved graph of a trained network predicts in Chromium, without its source, what it predicts here. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { manualSeed, randn, tensor, type Tensor } from 'tandem'
import { loadGraph, loadTensors, save, saveGraph } from 'tandem/io'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { withoutNode } from '../../scripts/bundle-browser.ts'
import { serveFolder, type StaticServer } from '../../scripts/static-server.ts'
import { chromiumNote, chromiumPath, launchChromium } from './chromium.ts'
import type * as program from './predict.ts'

class ConvNet extends nn.Module {
  features = new nn.Sequential(
    new nn.Conv2d(1, 8, 3, { padding: 1 }),
    new nn.BatchNorm2d(8),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Dropout(0.2),
  )
  classifier = new nn.Linear(8 * 14 * 14, 10)

  forward(x: Tensor) {
    return this.classifier.forward(this.features.forward(x).flatten({ startAxis: 1 })).softmax()
  }
}

describe.skipIf(chromiumPath === undefined)(`in Chromium${chromiumNote}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-graph-page-'))
  let server: StaticServer
  let browser: Browser
  let page: Page

  beforeAll(async () => {
    const bundle = await rolldown({
      input: 'test/browser/predict.ts',
      platform: 'browser',
      resolve: { conditionNames: ['source', 'browser', 'import'] },
      plugins: [withoutNode],
    })
    await bundle.write({ file: join(folder, 'predict.js'), codeSplitting: false })
    await bundle.close()
    const script = `import * as program from './predict.js'; globalThis.program = program`
    writeFileSync(join(folder, 'index.html'), `<script type="module">${script}</script>`)
    manualSeed(2)
    const model = new ConvNet()
    const x = randn([4, 1, 28, 28])
    train(model, x)
    const signatures = { predict: { inputs: { x } } }
    await saveGraph(model, join(folder, 'digits'), { signatures })
    await saveGraph(model, join(folder, 'digits.safetensors'), { signatures })
    await save({ x }, join(folder, 'inputs.safetensors'))
    server = await serveFolder(folder)
    browser = await launchChromium()
    page = await browser.newPage()
    await page.goto(server.url)
  })
  afterAll(async () => {
    await browser?.close()
    await server?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const call = <Name extends keyof typeof program>(name: Name, ...args: string[]) =>
    page.evaluate(
      ({ name, args }) =>
        (globalThis as unknown as { program: Record<string, (...args: string[]) => unknown> })
          .program[name]!(...args),
      { name, args },
    ) as ReturnType<(typeof program)[Name]>

  for (const form of ['digits', 'digits.safetensors'])
    test(`${form} predicts the same`, async () => {
      const graph = await loadGraph(join(folder, form), { device: 'wasm' })
      const { tensors } = await loadTensors(join(folder, 'inputs.safetensors'), { device: 'wasm' })
      const wanted = [...(await graph.run('predict', tensors).data())].map(Number)
      const { device, elements } = await call('predict', form, 'inputs.safetensors')
      expect(device).toBe('wasm')
      // Chromium may multiply and add in one step where Node rounds twice.
      expect(elements.length).toBe(40)
      elements.forEach((y, i) => expect(y).toBeCloseTo(wanted[i]!, 5))
    })

  test('what is cut short is refused', async () => {
    const bytes = readFileSync(join(folder, 'digits.safetensors'))
    writeFileSync(join(folder, 'short.safetensors'), bytes.subarray(0, bytes.length >> 1))
    expect(await call('complaint', 'short.safetensors')).toMatch(/^FormatError: .*cut short/)
    expect(await call('complaint', 'none')).toMatch(/cannot fetch .*none\/graph.json \(404/)
  })
})

function train(model: ConvNet, x: Tensor): void {
  const optimizer = new optim.Adam(model.parameters(), { lr: 1e-2 })
  const y = tensor([1, 2, 3, 4], { dtype: 'int32' })
  for (let i = 0; i < 3; i++) {
    optimizer.zeroGrad()
    model.forward(x).log().nllLoss(y).backward()
    optimizer.step()
  }
}
