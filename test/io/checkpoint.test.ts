/** @file Checkpoints: a run that was broken off goes on as if it had not been. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { manualSeed, randn, tensor } from 'tandem'
import { loadCheckpoint, save, saveCheckpoint } from 'tandem/io'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'

const folder = mkdtempSync(join(tmpdir(), 'tandem-checkpoint-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const path = join(folder, 'run.safetensors')

function setUp(lr = 0.01) {
  const module = new nn.Linear(3, 2)
  return { module, optimizer: new optim.Adam(module.parameters(), { lr }) }
}

/** Steps on random data, as a run with dropout would draw it. */
function train({ module, optimizer }: ReturnType<typeof setUp>, steps: number) {
  for (let i = 0; i < steps; i++) {
    optimizer.zeroGrad()
    module
      .forward(randn([4, 3]))
      .mul(randn([4, 2]))
      .sum()
      .backward()
    optimizer.step()
  }
}

const valuesOf = (module: nn.Module) =>
  Object.values(module.stateDict()).map((t) => t.toArraySync())

test('training goes on to the bit, random numbers and all', async () => {
  manualSeed(1)
  const whole = setUp()
  train(whole, 10)

  manualSeed(1)
  const first = setUp()
  train(first, 4)
  await saveCheckpoint(path, { ...first, epoch: 4 })
  train(first, 6)
  expect(valuesOf(first.module)).toEqual(valuesOf(whole.module))

  manualSeed(99)
  const second = setUp(0.5)
  expect(await loadCheckpoint(path, second)).toEqual({ epoch: 4 })
  expect(second.optimizer.lr).toBe(0.01)
  train(second, 6)
  expect(valuesOf(second.module)).toEqual(valuesOf(whole.module))
})

test('what does not fit changes nothing', async () => {
  manualSeed(2)
  const saved = setUp()
  train(saved, 2)
  await saveCheckpoint(path, saved)
  const other = new nn.Linear(3, 2)
  const optimizer = new optim.Adam([...other.parameters(), new nn.Parameter(tensor([1]))])
  const before = valuesOf(other)
  await expect(loadCheckpoint(path, { module: other, optimizer })).rejects.toThrow(/parameters/)
  expect(valuesOf(other)).toEqual(before)
  await saveCheckpoint(path, { module: saved.module })
  await expect(loadCheckpoint(path, saved)).rejects.toThrow(/has no optimizer's state/)
  expect(await loadCheckpoint(path, { module: other })).toEqual({ epoch: 0 })
  expect(valuesOf(other)).toEqual(valuesOf(saved.module))
})

test('another file is refused', async () => {
  const { module } = setUp()
  await save(module, path)
  await expect(loadCheckpoint(path, { module })).rejects.toThrow(/no checkpoint in this file/)
  await save(module, path, { metadata: { 'tandem.checkpoint': '{"epoch":-1}' } })
  await expect(loadCheckpoint(path, { module })).rejects.toThrow(/the header is damaged/)
  await expect(saveCheckpoint(path, module as never)).rejects.toThrow(
    /unknown option|module is missing/,
  )
})
