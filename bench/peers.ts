/** @file Loads the JavaScript libraries Tandem is measured against from bench/node_modules. */

import { createRequire } from 'node:module'
import { dirname, join, sep } from 'node:path'
import { NotInstalled, type Contender } from './harness.ts'
import type { JaxModule, TfModule, TfTensor, TfWasmModule } from './peer-types.ts'
import { sampleOf, sizeOf, values } from './values.ts'

/** The peers' names in results; the versions are those of bench/package.json. */
export const TFJS = 'tfjs-wasm 4.22'
export const JAX = 'jax-js 0.1.25'
export const ORT = 'onnxruntime 1.30'

const requirePeer = createRequire(join(process.cwd(), 'bench', 'package.json'))

let tfjs: Promise<TfModule> | undefined

/** TensorFlow.js on its WebAssembly backend: SIMD where the engine has it, one thread, as ever in Node. */
export function loadTfjs(): Promise<TfModule> {
  return (tfjs ??= startTfjs())
}

/** jax-js on its WebAssembly backend, which in Node has one thread. */
export async function loadJax(): Promise<JaxModule> {
  const jax = loadPeer<JaxModule>('@jax-js/jax')
  await jax.init('wasm')
  jax.defaultDevice('wasm')
  return jax
}

/** A tensor of the numbers that all contenders get. */
export function tfTensorOf(tf: TfModule, shape: readonly number[], seed: number): TfTensor {
  return tf.tensor(values(sizeOf(shape), seed), [...shape])
}

/** A contender that computes one tensor again and again, and disposes of each result by hand. */
export function tfjsContender(
  compute: () => TfTensor,
  inputs: readonly TfTensor[],
  /** How the result's elements come into the order of the others'. */
  reorder: (result: TfTensor) => TfTensor = (result) => result,
): Contender {
  let result: TfTensor | undefined
  return {
    run() {
      result?.dispose()
      result = compute()
    },
    finish() {
      const corner = result!.slice(
        result!.shape.map(() => 0),
        result!.shape.map(() => 1),
      )
      corner.dataSync()
      corner.dispose()
    },
    sample: () => sampleOf(reorder(result!).dataSync()),
    close() {
      for (const tensor of [...inputs, result]) tensor?.dispose()
    },
  }
}

async function startTfjs(): Promise<TfModule> {
  // Both come from CommonJS so that they share one engine.
  const tf = loadPeer<TfModule>('@tensorflow/tfjs')
  const wasm = loadPeer<TfWasmModule>('@tensorflow/tfjs-backend-wasm')
  wasm.setWasmPaths(dirname(requirePeer.resolve('@tensorflow/tfjs-backend-wasm')) + sep)
  wasm.setThreadsCount(1)
  // Skips the peer's own debug checks and its advice to install the native binding.
  tf.enableProdMode()
  if (!(await tf.setBackend('wasm'))) throw new Error('tfjs: the wasm backend did not start')
  await tf.ready()
  if (!(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'))) console.warn('note: tfjs has no SIMD')
  return tf
}

/** A peer's module; throws NotInstalled where it is absent. */
export function loadPeer<Module>(name: string): Module {
  try {
    return requirePeer(name) as Module
  } catch (error) {
    if ((error as { code?: string }).code !== 'MODULE_NOT_FOUND') throw error
    throw new NotInstalled('not installed; npm install --prefix bench')
  }
}
